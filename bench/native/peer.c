/* Both ends of the bench in one small program, so that neither is what is measured.

   peer serve PORT TICK_US PHASES EVENT_BYTES
       An upstream: answers each request with one canned chat completion, or, when it carries the
       header `x-bench-chunks: N`, with N server-sent events of EVENT_BYTES, a usage event and
       [DONE], each in a write of its own.  Every stream gets its first event with the head, then one
       per TICK_US; the streams are dealt over PHASES instants within it, so that events come apart as they do in life.

   peer load PORT CONNECTIONS WARM_MS RUN_MS < REQUEST
       A closed loop: each connection writes the bytes of REQUEST, reads the answer to its
       end, and begins again.  Prints "ready" when every connection has seen body bytes, "warm"
       after WARM_MS, then after RUN_MS one line of JSON over the time between (latencies in ns).
       RUN_MS 0 runs until SIGTERM.

   Loopback only, one thread, epoll, HTTP/1.1 as far as the bench needs it. */
#define _GNU_SOURCE
#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <netinet/tcp.h>
#include <signal.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/timerfd.h>
#include <time.h>
#include <unistd.h>

#define HEAD_MAX 16384
#define READ_MAX (1 << 18)
#define OPENING_MAX 64
#define SAMPLES_MAX (1 << 22)

static char buffer[READ_MAX];

static void die(const char *what) {
    perror(what);
    exit(1);
}

static int64_t now_ns(void) {
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return t.tv_sec * 1000000000LL + t.tv_nsec;
}

static struct sockaddr_in loopback(const char *port) {
    struct sockaddr_in a = {.sin_family = AF_INET, .sin_port = htons(atoi(port))};
    a.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    return a;
}

/* The number after header NAME (with its colon) in a head, or -1. */
static long header_number(const char *head, const char *name) {
    const char *p = strcasestr(head, name);
    return p ? atol(p + strlen(name)) : -1;
}

/* ---- serve ------------------------------------------------------------------------------ */

struct client {
    int fd, slot;            /* slot in `streams`, -1 = none */
    long body, left;         /* request bytes still to come; events still to send */
    size_t filled;
    char head[HEAD_MAX];
};

static const char ANSWER_BODY[] =
    "{\"id\":\"chatcmpl-B9MBs8CjcvOU2jLn4n570S5qMJKcT\",\"object\":\"chat.completion\",\"created\":1741569952,"
    "\"model\":\"gpt-4.1-2025-04-14\",\"choices\":[{\"index\":0,\"message\":{\"role\":\"assistant\",\"content\":"
    "\"Hello! How can I assist you today?\",\"refusal\":null,\"annotations\":[]},\"logprobs\":null,"
    "\"finish_reason\":\"stop\"}],\"usage\":{\"prompt_tokens\":19,\"completion_tokens\":10,\"total_tokens\":29,"
    "\"prompt_tokens_details\":{\"cached_tokens\":0,\"audio_tokens\":0},\"completion_tokens_details\":"
    "{\"reasoning_tokens\":0,\"audio_tokens\":0,\"accepted_prediction_tokens\":0,"
    "\"rejected_prediction_tokens\":0}},\"service_tier\":\"default\"}";
static const char STREAM_HEAD[] =
    "HTTP/1.1 200 OK\r\nContent-Type: text/event-stream; charset=utf-8\r\nTransfer-Encoding: chunked\r\n"
    "x-request-id: req_bench\r\n\r\n";
static const char EVENT_START[] =
    "data: {\"id\":\"chatcmpl-B9\",\"object\":\"chat.completion.chunk\",\"choices\":[{\"index\":0,\"delta\":"
    "{\"content\":\" token";
static const char EVENT_END[] = "\"}}]}\n\n";
static const char LAST_EVENTS[] =
    "data: {\"id\":\"chatcmpl-B9\",\"object\":\"chat.completion.chunk\",\"choices\":[{\"index\":0,\"delta\":{},"
    "\"finish_reason\":\"stop\"}]}\n\n"
    "data: {\"id\":\"chatcmpl-B9\",\"object\":\"chat.completion.chunk\",\"choices\":[],\"usage\":"
    "{\"prompt_tokens\":19,\"completion_tokens\":10,\"total_tokens\":29}}\n\ndata: [DONE]\n\n";
static char answer[2048], first_frame[3 * HEAD_MAX], event_frame[2 * HEAD_MAX], last_frame[1024];
static size_t answer_size, first_size, event_size, last_size;

static struct client **streams;
static int streams_count, streams_room;

static void leave_streams(struct client *c) {
    if (c->slot < 0) return;
    streams[c->slot] = streams[--streams_count];
    streams[c->slot]->slot = c->slot;
    c->slot = -1;
}

static void drop(struct client *c) {
    leave_streams(c);
    close(c->fd);
    free(c);
}

static void reply(struct client *c) {
    long events = header_number(c->head, "\r\nx-bench-chunks:");
    if (events < 0) {
        if (write(c->fd, answer, answer_size) != (ssize_t)answer_size) fprintf(stderr, "short answer\n");
        return;
    }
    if (write(c->fd, first_frame, first_size) < 0) return;
    if (streams_count == streams_room) streams = realloc(streams, (streams_room += 1024) * sizeof *streams);
    c->left = events - 1;
    c->slot = streams_count;
    streams[streams_count++] = c;
}

/* Take what came from a client; answers go out as requests complete.  0 = the client is gone. */
static int take(struct client *c) {
    for (;;) {
        ssize_t n = read(c->fd, buffer, READ_MAX);
        if (n < 0) return errno == EAGAIN;
        if (n == 0) return 0;
        char *p = buffer;
        ssize_t rest = n;
        while (rest > 0) {
            if (c->body > 0) {
                long step = rest < c->body ? rest : c->body;
                c->body -= step, rest -= step, p += step;
                if (c->body == 0) { reply(c); c->filled = 0; }
                continue;
            }
            size_t step = rest < (ssize_t)(HEAD_MAX - 1 - c->filled) ? (size_t)rest : HEAD_MAX - 1 - c->filled;
            if (step == 0) return 0;
            memcpy(c->head + c->filled, p, step);
            c->head[c->filled + step] = 0;
            char *end = strstr(c->head, "\r\n\r\n");
            if (!end) { c->filled += step, rest -= step, p += step; continue; }
            size_t used = end + 4 - c->head - c->filled;
            end[4] = 0;
            c->filled += used, rest -= used, p += used;
            c->body = header_number(c->head, "\r\ncontent-length:");
            if (c->body <= 0) { c->body = 0; reply(c); c->filled = 0; }
        }
        if (n < READ_MAX) return 1;
    }
}

static void send_events(int phase, int phases) {
    for (int i = streams_count - 1; i >= 0; i--) {
        struct client *c = streams[i];
        if (c->fd % phases != phase) continue;
        if (c->left-- > 0) {
            if (write(c->fd, event_frame, event_size) < 0) c->left++;   /* reader is slow: skip a beat */
        } else {
            if (write(c->fd, last_frame, last_size) < 0) continue;
            leave_streams(c);
        }
    }
}

/* One event of `bytes`, as a chunk: words of text between its start and its end. */
static size_t make_event(char *to, int bytes) {
    char event[HEAD_MAX];
    int size = sprintf(event, "%s", EVENT_START);
    while (size + (int)sizeof EVENT_END - 1 < bytes && size < HEAD_MAX / 2) event[size] = " tokens"[size % 7], size++;
    size += sprintf(event + size, "%s", EVENT_END);
    return sprintf(to, "%x\r\n%s\r\n", size, event);
}

static void serve(const char *port, long tick_us, int phases, int event_bytes) {
    answer_size = sprintf(answer, "HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: %zu\r\n"
                          "x-request-id: req_bench\r\n\r\n%s", sizeof ANSWER_BODY - 1, ANSWER_BODY);
    event_size = make_event(event_frame, event_bytes);
    first_size = sprintf(first_frame, "%s%s", STREAM_HEAD, event_frame);
    last_size = sprintf(last_frame, "%zx\r\n%s\r\n0\r\n\r\n", sizeof LAST_EVENTS - 1, LAST_EVENTS);
    struct sockaddr_in a = loopback(port);
    int one = 1, listener = socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK, 0), poll = epoll_create1(0);
    setsockopt(listener, SOL_SOCKET, SO_REUSEADDR, &one, sizeof one);
    if (bind(listener, (void *)&a, sizeof a) || listen(listener, 4096)) die("listen");
    int timer = timerfd_create(CLOCK_MONOTONIC, TFD_NONBLOCK);
    long step_ns = tick_us * 1000 / phases;
    struct itimerspec every = {{step_ns / 1000000000, step_ns % 1000000000}, {0, step_ns % 1000000000 + 1}};
    timerfd_settime(timer, 0, &every, NULL);
    struct epoll_event e = {.events = EPOLLIN, .data.ptr = &listener}, got[256];
    epoll_ctl(poll, EPOLL_CTL_ADD, listener, &e);
    e.data.ptr = &timer;
    epoll_ctl(poll, EPOLL_CTL_ADD, timer, &e);
    for (int phase = 0;;) {
        int n = epoll_wait(poll, got, 256, -1);
        int due = 0;
        for (int i = 0; i < n; i++) {
            if (got[i].data.ptr == &timer) { due = 1; continue; }
            if (got[i].data.ptr != &listener) {
                struct client *c = got[i].data.ptr;
                if (!take(c)) drop(c);
                continue;
            }
            for (int fd; (fd = accept4(listener, NULL, NULL, SOCK_NONBLOCK)) >= 0;) {
                struct client *c = malloc(sizeof *c);
                c->fd = fd, c->slot = -1, c->body = 0, c->left = 0, c->filled = 0;
                setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &one, sizeof one);
                struct epoll_event f = {.events = EPOLLIN, .data.ptr = c};
                epoll_ctl(poll, EPOLL_CTL_ADD, fd, &f);
            }
        }
        uint64_t beats;
        if (due && read(timer, &beats, sizeof beats) == sizeof beats) {
            /* A late timer sends one beat only: pacing may slow down, events never bunch. */
            send_events(phase, phases);
            phase = (phase + 1) % phases;
        }
    }
}

/* ---- load ------------------------------------------------------------------------------- */

struct call {
    int fd, in_head, chunked, opening;
    size_t sent, filled;
    long body;               /* bytes of the answer still to come; -1 = until EOF */
    int64_t start_ns;
    char head[HEAD_MAX], tail[5];
};

static struct {
    long requests, errors, events, reads, reconnects;
    int64_t bytes;
} sum;
static uint32_t *samples_us10, *first_us10;
static long samples, firsts;
static char *request, *port_text;
static size_t request_size;
static int load_poll, opening;
static volatile sig_atomic_t stopped;

static void stop(int signal) { (void)signal; stopped = 1; }

static void want(struct call *c, uint32_t events, int op) {
    struct epoll_event e = {.events = events, .data.ptr = c};
    epoll_ctl(load_poll, op, c->fd, &e);
}

static void push(struct call *c) {
    while (c->sent < request_size) {
        ssize_t n = write(c->fd, request + c->sent, request_size - c->sent);
        if (n < 0) { want(c, EPOLLIN | EPOLLOUT, EPOLL_CTL_MOD); return; }
        c->sent += n;
    }
}

static void begin(struct call *c) {
    c->in_head = 1, c->filled = 0, c->sent = 0;
    memset(c->tail, 0, sizeof c->tail);
    c->start_ns = now_ns();
    push(c);
}

static void open_call(struct call *c) {
    struct sockaddr_in a = loopback(port_text);
    int one = 1;
    c->fd = socket(AF_INET, SOCK_STREAM, 0);
    if (c->fd < 0 || connect(c->fd, (void *)&a, sizeof a)) die("connect");
    setsockopt(c->fd, IPPROTO_TCP, TCP_NODELAY, &one, sizeof one);
    fcntl(c->fd, F_SETFL, O_NONBLOCK);
    c->opening = 1, opening++;
    want(c, EPOLLIN, EPOLL_CTL_ADD);
    begin(c);
}

static void reopen(struct call *c) {
    close(c->fd);
    if (c->opening) c->opening = 0, opening--;
    sum.reconnects++;
    open_call(c);
}

static void finish(struct call *c) {
    sum.requests++;
    if (samples < SAMPLES_MAX) samples_us10[samples++] = (now_ns() - c->start_ns) / 100;
    begin(c);
}

/* Body bytes came; 1 if the answer is complete. */
static int body(struct call *c, const char *p, ssize_t n) {
    if (n > 0 && c->opening) c->opening = 0, opening--;
    for (const char *q = p; (q = memmem(q, p + n - q, "data: ", 6)); q += 6) sum.events++;
    if (c->chunked) {
        for (ssize_t i = n > 5 ? n - 5 : 0; i < n; i++) {
            memmove(c->tail, c->tail + 1, 4);
            c->tail[4] = p[i];
        }
        return !memcmp(c->tail, "0\r\n\r\n", 5);
    }
    if (c->body < 0) return 0;
    c->body -= n;
    return c->body <= 0;
}

static int head(struct call *c, ssize_t n) {
    size_t room = HEAD_MAX - 1 - c->filled, step = (size_t)n < room ? (size_t)n : room;
    memcpy(c->head + c->filled, buffer, step);
    c->head[c->filled + step] = 0;
    char *end = strstr(c->head, "\r\n\r\n");
    size_t before = c->filled;
    c->filled += step;
    if (!end) return 0;
    if (strncmp(c->head + 9, "200", 3)) {
        if (!sum.errors++) fprintf(stderr, "first bad answer: %.1200s\n", c->head);
    }
    if (firsts < SAMPLES_MAX) first_us10[firsts++] = (now_ns() - c->start_ns) / 100;
    size_t used = end + 4 - c->head - before;
    end[2] = 0;
    c->in_head = 0;
    c->chunked = strcasestr(c->head, "transfer-encoding: chunked") != NULL;
    c->body = header_number(c->head, "\r\ncontent-length:");
    if (c->body == 0) { body(c, "", 0); return 1; }
    return n > (ssize_t)used ? body(c, buffer + used, n - used) : 0;
}

static void receive(struct call *c, uint32_t events) {
    if (events & EPOLLOUT) { want(c, EPOLLIN, EPOLL_CTL_MOD); push(c); }
    if (!(events & (EPOLLIN | EPOLLHUP | EPOLLERR))) return;
    ssize_t n = read(c->fd, buffer, READ_MAX);
    if (n < 0 && errno == EAGAIN) return;
    if (n <= 0) {
        if (n == 0 && !c->in_head && c->body < 0 && !c->chunked) sum.requests++;
        else if (!c->in_head || c->filled) sum.errors++;
        reopen(c);
        return;
    }
    sum.reads++, sum.bytes += n;
    if (c->in_head ? head(c, n) : body(c, buffer, n)) finish(c);
}

static int by_size(const void *a, const void *b) {
    uint32_t x = *(const uint32_t *)a, y = *(const uint32_t *)b;
    return (x > y) - (x < y);
}

static void quantiles(const char *name, uint32_t *v, long n) {
    qsort(v, n, sizeof *v, by_size);
    printf(",\"%s_p50_ns\":%llu,\"%s_p99_ns\":%llu", name, n ? v[n / 2] * 100ULL : 0, name,
           n ? v[n * 99 / 100] * 100ULL : 0);
}

static void read_request(void) {
    for (size_t room = 0;;) {
        if (request_size == room) request = realloc(request, room += 1 << 20);
        ssize_t n = read(0, request + request_size, room - request_size);
        if (n < 0) die("request");
        if (n == 0) return;
        request_size += n;
    }
}

static void run_until(int64_t end_ns, int count, struct call *calls, int *opened) {
    struct epoll_event got[256];
    for (int ready = *opened == count && opening == 0; !stopped;) {
        while (*opened < count && opening < OPENING_MAX) open_call(&calls[(*opened)++]);
        if (!ready && *opened == count && opening == 0) {
            ready = 1;
            puts("ready");
            fflush(stdout);
        }
        int64_t left = end_ns ? end_ns - now_ns() : 1000000000;
        if (left <= 0) return;
        int n = epoll_wait(load_poll, got, 256, left / 1000000 + 1);
        for (int i = 0; i < n; i++) receive(got[i].data.ptr, got[i].events);
    }
}

static int load(const char *port, int count, long warm_ms, long run_ms) {
    port_text = strdup(port);
    read_request();
    samples_us10 = malloc(SAMPLES_MAX * sizeof *samples_us10);
    first_us10 = malloc(SAMPLES_MAX * sizeof *first_us10);
    struct call *calls = calloc(count, sizeof *calls);
    load_poll = epoll_create1(0);
    int opened = 0;
    run_until(now_ns() + warm_ms * 1000000, count, calls, &opened);
    memset(&sum, 0, sizeof sum);
    samples = firsts = 0;
    puts("warm");
    fflush(stdout);
    int64_t start = now_ns();
    run_until(run_ms ? start + run_ms * 1000000 : 0, count, calls, &opened);
    int64_t ran = now_ns() - start;
    printf("{\"ran_ns\":%lld,\"requests\":%ld,\"errors\":%ld,\"events\":%ld,\"reads\":%ld,\"reconnects\":%ld,\"bytes\":%lld",
           (long long)ran, sum.requests, sum.errors, sum.events, sum.reads, sum.reconnects, (long long)sum.bytes);
    quantiles("latency", samples_us10, samples);
    quantiles("first", first_us10, firsts);
    puts("}");
    return 0;
}

int main(int argc, char **argv) {
    struct rlimit files;
    getrlimit(RLIMIT_NOFILE, &files);
    files.rlim_cur = files.rlim_max;
    setrlimit(RLIMIT_NOFILE, &files);
    signal(SIGPIPE, SIG_IGN);
    if (argc == 6 && !strcmp(argv[1], "serve")) serve(argv[2], atol(argv[3]), atoi(argv[4]), atoi(argv[5]));
    signal(SIGTERM, stop);
    if (argc == 6 && !strcmp(argv[1], "load"))
        return load(argv[2], atoi(argv[3]), atol(argv[4]), atol(argv[5]));
    fprintf(stderr, "usage: peer serve PORT TICK_US PHASES EVENT_BYTES | peer load PORT CONNECTIONS WARM_MS RUN_MS < REQUEST\n");
    return 2;
}
