#include "http.h"

#include <stdio.h>
#include <string.h>
#include <strings.h>

static const char *reason(int status)
{
    static const struct {
        int status;
        const char *text;
    } known[] = {
        {200, "OK"},        {302, "Found"},           {400, "Bad Request"},
        {404, "Not Found"}, {431, "Headers Too Large"}, {501, "Not Implemented"},
        {503, "Starting"},
    };

    for (size_t i = 0; i < sizeof known / sizeof *known; i++)
        if (known[i].status == status) return known[i].text;
    return "Other";
}

/* The value of a header in a head that ends with an empty line; NULL when it is not there. */
static const char *value(const char *head, const char *name)
{
    size_t length = strlen(name);

    for (const char *line = strstr(head, "\r\n"); line && line[2] != '\r'; line = strstr(line + 2, "\r\n")) {
        if (strncasecmp(line + 2, name, length) || line[2 + length] != ':') continue;
        line += 2 + length + 1;
        return line + strspn(line, " \t");
    }
    return NULL;
}

int http_next(struct http *http, struct request *next)
{
    char *method = http->in, *end, *path, *version;
    const char *connection, *length;

    http->in[http->in_length] = '\0';
    memset(next, 0, sizeof *next);
    next->body = 1;
    next->path = "";
    end = strstr(method, "\r\n\r\n");
    if (!end) {
        if (http->in_length < HTTP_IN) return 0;
        next->status = 431;
        next->length = http->in_length;
        return 1;
    }
    next->length = (size_t)(end - method) + 4;
    connection = value(method, "Connection");
    length = value(method, "Content-Length");
    if (value(method, "Transfer-Encoding") || (length && *length != '0')) next->status = 501; /* no bodies here */
    path = strchr(method, ' ');
    version = path ? strchr(path + 1, ' ') : NULL;
    if (!version || version > strstr(method, "\r\n") || strncmp(version, " HTTP/1.", 8)) {
        next->status = 400;
        return 1;
    }
    next->keep = version[8] == '1' ? !connection || strncasecmp(connection, "close", 5)
                                   : connection && !strncasecmp(connection, "keep-alive", 10);
    *path++ = *version = '\0';
    path[strcspn(path, "?#")] = '\0';
    next->body = strcmp(method, "HEAD") != 0;
    if (next->body && strcmp(method, "GET")) next->status = 501;
    next->path = path;
    return 1;
}

void http_done(struct http *http, const struct request *next, const struct reply *reply, unsigned generation)
{
    int keep = next->keep && !next->status;
    int head = snprintf(http->out, sizeof http->out,
                        "HTTP/1.1 %d %s\r\nContent-Type: %s\r\nContent-Length: %zu\r\nCache-Control: no-store\r\n"
                        "X-Generation: %u\r\nConnection: %s\r\n\r\n",
                        reply->status, reason(reply->status), reply->type, reply->length, generation,
                        keep ? "keep-alive" : "close");

    http->out_length = (size_t)head;
    http->out_sent = 0;
    if (next->body) {
        memcpy(http->out + head, reply->body, reply->length);
        http->out_length += reply->length;
    }
    http->in_length -= next->length;
    memmove(http->in, http->in + next->length, http->in_length);
    http->last = !keep;
}
