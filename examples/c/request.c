/* request ADDR TEXT: calls the server at ADDR with TEXT and prints its reply. */

/* README-begin */
#include <hostlane.h>
#include <stdio.h>
#include <string.h>

static hostlane_status_t request(const char *addr, const char *text, hostlane_error_t **err) {
    hostlane_peer_t peer;
    hostlane_message_t *reply = NULL;
    hostlane_status_t status = hostlane_connect(addr, strlen(addr), NULL, 5000, &peer, err);
    if (status == HOSTLANE_OK) {
        status = hostlane_request(peer, text, strlen(text), 5000, &reply, err);
        if (status == HOSTLANE_OK) {
            size_t len;
            const uint8_t *data = hostlane_message_data(reply, &len);
            printf("%.*s\n", (int)len, (const char *)data);
        }
        hostlane_message_free(&reply);
        hostlane_close(peer, NULL);
    }
    return status;
}
/* README-end */

int main(int argc, char **argv) {
    hostlane_error_t *err = NULL;
    const char *why;
    if (argc != 3) {
        fprintf(stderr, "usage: request ADDR TEXT\n");
        return 2;
    }
    const hostlane_status_t status = request(argv[1], argv[2], &err);
    if (status == HOSTLANE_OK) {
        return 0;
    }
    hostlane_error_message(err, &why, NULL);
    fprintf(stderr, "hostlane: %s: %s\n", hostlane_status_name(status), why);
    hostlane_error_free(&err);
    return 1;
}
