/* The one program in the image that the tests run: no registry can be reached, so the image is made of
 * this file alone, linked statically. It does as its first argument says:
 *
 *   serve PORT     answers every HTTP request with 200; ends with 0 on SIGTERM
 *   exit CODE      prints its arguments and ends
 *   env NAME       prints a variable
 *   cat PATH       prints a file
 *   lines COUNT    prints so many numbered lines and ends; with a third argument as many microseconds apart
 *   deaf           ignores SIGTERM
 *   linger CODE    ends with the code, two seconds after SIGTERM
 *   eat            takes memory until it is killed
 *   sleep          does nothing, for an hour
 */
#include <arpa/inet.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

static void end(int signal) {
    (void)signal;
    _exit(0);
}

static volatile sig_atomic_t told = 0;

static void note(int signal) {
    (void)signal;
    told = 1;
}

static int linger(int code) {
    signal(SIGTERM, note);
    while (!told) sleep(1);
    sleep(2);
    return code;
}

static int serve(int port) {
    signal(SIGTERM, end);
    signal(SIGPIPE, SIG_IGN);
    struct sockaddr_in address = {.sin_family = AF_INET, .sin_port = htons((unsigned short)port)};
    int one = 1, listener = socket(AF_INET, SOCK_STREAM, 0);
    setsockopt(listener, SOL_SOCKET, SO_REUSEADDR, &one, sizeof one);
    if (bind(listener, (struct sockaddr *)&address, sizeof address) != 0 || listen(listener, 64) != 0) {
        perror("serve");
        return 1;
    }
    printf("serving on %d\n", port);
    for (;;) {
        char request[4096];
        int connection = accept(listener, NULL, NULL);
        if (connection < 0) continue;
        if (read(connection, request, sizeof request) > 0) {
            static const char answer[] =
                "HTTP/1.1 200 OK\r\nContent-Type: text/plain\r\nContent-Length: 3\r\nConnection: close\r\n\r\nok\n";
            if (write(connection, answer, sizeof answer - 1) < 0) perror("write");
        }
        close(connection);
    }
}

static int cat(const char *path) {
    char line[4096];
    FILE *file = fopen(path, "r");
    if (file == NULL) {
        perror(path);
        return 1;
    }
    while (fgets(line, sizeof line, file) != NULL) fputs(line, stdout);
    fclose(file);
    return 0;
}

static void eat(void) {
    for (;;) {
        char *piece = malloc(1 << 20);
        if (piece != NULL) memset(piece, 1, 1 << 20);
    }
}

int main(int count, char **arguments) {
    const char *what = count > 1 ? arguments[1] : "", *argument = count > 2 ? arguments[2] : "";
    setvbuf(stdout, NULL, _IOLBF, 0);
    if (strcmp(what, "serve") == 0) return serve(atoi(argument));
    if (strcmp(what, "linger") == 0) return linger(atoi(argument));
    if (strcmp(what, "exit") == 0) {
        for (int i = 1; i < count; i++) printf("%s ", arguments[i]);
        printf("\n");
        return atoi(argument);
    }
    if (strcmp(what, "env") == 0) {
        const char *value = getenv(argument);
        printf("%s\n", value == NULL ? "(unset)" : value);
        return 0;
    }
    if (strcmp(what, "cat") == 0) return cat(argument);
    if (strcmp(what, "lines") == 0) {
        for (int i = 0; i < atoi(argument); i++) {
            printf("line %d\n", i);
            if (count > 3) usleep((unsigned)atoi(arguments[3]));
        }
        return 0;
    }
    if (strcmp(what, "deaf") == 0) {
        signal(SIGTERM, SIG_IGN);
        printf("deaf\n");
        for (;;) pause();
    }
    if (strcmp(what, "eat") == 0) eat();
    if (strcmp(what, "sleep") == 0) {
        signal(SIGTERM, end);
        printf("asleep\n");
        sleep(3600);
        return 0;
    }
    fprintf(stderr, "service: what is '%s'?\n", what);
    return 2;
}
