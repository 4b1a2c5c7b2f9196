/* The host: main [PORT]. Sockets and nothing else; whatever is said is the plugin's. */
#define _GNU_SOURCE
#include <arpa/inet.h>
#include <errno.h>
#include <netinet/in.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <unistd.h>

#include "http.h"

HR_TABLE(pages, PAGES_FUNCTIONS)

struct connection {
    int socket;
    int slow; /* replies wait for room in the socket */
    struct http http;
};

static int events; /* the epoll set */

static void watch(int operation, int file, uint32_t what, void *whose)
{
    struct epoll_event event = {.events = what, .data.ptr = whose};

    if (epoll_ctl(events, operation, file, &event)) perror("server: epoll_ctl");
}

static int listen_at(const char *port)
{
    struct sockaddr_in address = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    socklen_t size = sizeof address;
    int on = 1, listener = socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);

    address.sin_port = htons((uint16_t)strtoul(port, NULL, 10));
    setsockopt(listener, SOL_SOCKET, SO_REUSEADDR, &on, sizeof on);
    if (bind(listener, (struct sockaddr *)&address, sizeof address) || listen(listener, SOMAXCONN) ||
        getsockname(listener, (struct sockaddr *)&address, &size)) {
        fprintf(stderr, "server: port %s: %s; another one is chosen by main PORT, or --hot-run=PORT\n", port,
                strerror(errno));
        return -1;
    }
    printf("server: http://127.0.0.1:%u/\n", ntohs(address.sin_port));
    fflush(stdout);
    return listener;
}

static void meet(int listener)
{
    int one = accept4(listener, NULL, NULL, SOCK_NONBLOCK | SOCK_CLOEXEC);
    struct connection *new = one < 0 ? NULL : calloc(1, sizeof *new);

    if (new) {
        new->socket = one;
        watch(EPOLL_CTL_ADD, one, EPOLLIN, new);
    } else if (one >= 0) {
        close(one);
    }
}

static void part(struct connection *from)
{
    close(from->socket); /* and so out of the epoll set */
    free(from);
}

static void answer(struct connection *to, const struct request *next, hr_result now)
{
    static struct reply reply; /* one is written at a time */

    reply.status = next->status;
    reply.length = 0;
    strcpy(reply.type, "text/plain");
    if (!next->status && now.generation)
        pages.pages_answer((struct site *)now.state, next->path, &reply);
    else if (!next->status)
        reply.status = 503; /* the first build is still under way */
    http_done(&to->http, next, &reply, now.generation);
}

/* Sends what is written. 1: all of it; 0: the other side is slow; -1: the connection is over. */
static int flush_out(struct connection *to)
{
    struct http *http = &to->http;

    while (http->out_sent < http->out_length) {
        ssize_t sent = send(to->socket, http->out + http->out_sent, http->out_length - http->out_sent, MSG_NOSIGNAL);

        if (sent >= 0)
            http->out_sent += (size_t)sent;
        else if (errno != EINTR)
            return errno == EAGAIN ? 0 : -1;
    }
    return http->last ? -1 : 1;
}

/* Takes what came, answers, sends, as far as it goes without waiting. 0: the connection is over. */
static int serve(struct connection *with, hr_result now)
{
    struct http *http = &with->http;
    struct request next;
    int sent;

    if (!with->slow) { /* else what came before is answered first */
        ssize_t came = recv(with->socket, http->in + http->in_length, HTTP_IN - http->in_length, 0);

        if (came == 0 || (came < 0 && errno != EAGAIN && errno != EINTR)) return 0;
        if (came > 0) http->in_length += (size_t)came;
    }
    while ((sent = flush_out(with)) > 0 && http_next(http, &next)) answer(with, &next, now);
    if (sent < 0) return 0;
    if (with->slow != !sent) watch(EPOLL_CTL_MOD, with->socket, sent ? EPOLLIN : EPOLLOUT, with);
    with->slow = !sent;
    return 1;
}

int main(int count, char **arguments)
{
    struct epoll_event ready[256];
    hr_host *host;
    hr_desc desc = HR_DESC(pages, "$ORIGIN/libpages.so");
    hr_result now = hr_open(&host, &desc);
    int listener = listen_at(count > 1 ? arguments[1] : "8080");

    if (listener < 0 || now.code == HR_FAILED) {
        if (now.code == HR_FAILED) fprintf(stderr, "server: %s\n", now.text);
        return 1;
    }
    events = epoll_create1(EPOLL_CLOEXEC);
    watch(EPOLL_CTL_ADD, listener, EPOLLIN, &listener);
    watch(EPOLL_CTL_ADD, hr_fd(host), EPOLLIN, host); /* wakes the loop when a reload is ready */
    while (now.code != HR_FAILED) {
        int some = epoll_wait(events, ready, sizeof ready / sizeof *ready, -1);

        now = hr_poll(host); /* the safe point: no call of the plugin is under way */
        for (int i = 0; i < some; i++) {
            void *whose = ready[i].data.ptr;

            if (whose == host) continue;
            if (whose == &listener)
                meet(listener);
            else if (!serve(whose, now))
                part(whose);
        }
    }
    fprintf(stderr, "server: %s\n", now.text);
    return 1;
}
