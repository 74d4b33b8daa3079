/* link ADDR NAME: two of this program, in whatever order, greet each other; when one leaves, another may join. */

#include <hostlane.h>
#include <pthread.h>
#include <stdio.h>
#include <string.h>

/* README-begin */
struct side {
    hostlane_link_t link;
    const char *name;
};

/* Answers whatever the other side asks, until the link ends. */
static void *serve(void *argument) {
    const struct side *side = argument;
    hostlane_event_t event;
    for (;;) {
        const hostlane_status_t status = hostlane_link_next(side->link, HOSTLANE_FOREVER, &event, NULL);
        if (status == HOSTLANE_E_INTERRUPTED) {
            continue; /* by a signal; nothing is lost */
        }
        if (status != HOSTLANE_OK) {
            return NULL;
        }
        if (event.kind == HOSTLANE_EVENT_MESSAGE) {
            char answer[256];
            size_t len;
            const uint8_t *data = hostlane_message_data(event.message, &len);
            snprintf(answer, sizeof(answer), "%s got: %.*s", side->name, (int)len, (const char *)data);
            /* Whoever asked may have left meanwhile. */
            hostlane_link_reply(side->link, event.message, answer, strlen(answer), NULL);
        }
        hostlane_events_free(&event, 1);
    }
}

static hostlane_status_t greet(const struct side *side, hostlane_error_t **err) {
    char hello[256];
    hostlane_message_t *reply = NULL;
    snprintf(hello, sizeof(hello), "hello from %s", side->name);
    const hostlane_status_t status =
        hostlane_link_request(side->link, hello, strlen(hello), NULL, HOSTLANE_FOREVER, &reply, err);
    if (status == HOSTLANE_OK) {
        int32_t serving = -1;
        size_t len;
        const uint8_t *data = hostlane_message_data(reply, &len);
        hostlane_link_is_serving(side->link, &serving, NULL);
        printf("%s\n%.*s\n", serving == 1 ? "serving" : "connected", (int)len, (const char *)data);
        fflush(stdout);
    }
    hostlane_message_free(&reply);
    return status;
}
/* README-end */

int main(int argc, char **argv) {
    hostlane_error_t *err = NULL;
    struct side side;
    pthread_t serving;
    if (argc != 3) {
        fprintf(stderr, "usage: link ADDR NAME\n");
        return 2;
    }
    side.name = argv[2];
    hostlane_status_t status = hostlane_link_open(argv[1], strlen(argv[1]), NULL, &side.link, &err);
    if (status == HOSTLANE_OK) {
        if (pthread_create(&serving, NULL, serve, &side) != 0) {
            hostlane_link_close(side.link, NULL);
            return 1;
        }
        status = greet(&side, &err);
        while (status == HOSTLANE_OK && getchar() != EOF) {
        }
        hostlane_link_close(side.link, NULL);
        pthread_join(serving, NULL);
    }
    if (status != HOSTLANE_OK) {
        const char *why;
        hostlane_error_message(err, &why, NULL);
        fprintf(stderr, "hostlane: %s: %s\n", hostlane_status_name(status), why);
        hostlane_error_free(&err);
        return 1;
    }
    return 0;
}
