#include "arguments.h"

#include <dirent.h>
#include <pthread.h>
#include <unistd.h>

/* The largest message, and a little more. */
#define MOST ((size_t)(16 << 20) + 16)

static uint8_t bytes[MOST];

hostlane_peer_t peer(run *r, uint8_t choice) { return (hostlane_peer_t){draw(r, PEER, choice)}; }
hostlane_listener_t listener(run *r, uint8_t choice) { return (hostlane_listener_t){draw(r, LISTENER, choice)}; }
hostlane_context_t context(run *r) { return (hostlane_context_t){draw(r, CONTEXT, r->act->object)}; }
hostlane_link_t lane_link(run *r) { return (hostlane_link_t){draw(r, LINK, r->act->object)}; }
hostlane_stream_t stream(run *r, uint8_t choice) {
    r->doubtful = true; /* this direction of it may have been ended */
    return (hostlane_stream_t){draw(r, STREAM, choice)};
}
hostlane_call_t started(run *r) { return (hostlane_call_t){draw(r, CALL, r->act->object)}; }

const hostlane_message_t *message(run *r) {
    const hostlane_message_t *held = hold(r, false);
    r->wrong |= held == NULL ? WRONG_ARGUMENT : 0;
    return held;
}

const hostlane_message_t *message_with(run *r, uint8_t flag) {
    const hostlane_message_t *held = message(r);
    /* Or something else about it or its connection is told first. */
    r->doubtful |= (hostlane_message_flags(held) & flag) == 0;
    return held;
}

size_t cap(run *r) {
    const size_t cap = r->act->length % (EVENTS + 1);
    r->wrong |= cap == 0 ? WRONG_ARGUMENT : 0;
    return cap;
}

const uint8_t *payload(run *r, size_t *len) {
    const size_t size = r->act->length & 31;
    switch (r->act->length >> 5) {
    case 4:
        *len = size * 100;
        break;
    case 5:
        *len = size * 4096;
        break;
    case 6:
        *len = size == 31 ? MOST : size * 16384;
        break;
    case 7:
        *len = size;
        r->wrong |= size > 0 ? WRONG_ARGUMENT : 0;
        return NULL;
    default:
        *len = size;
    }
    return bytes;
}

int64_t timeout(const run *r) {
    static const int64_t waits[] = {5, 2, 1};
    const unsigned choice = r->act->wait % 32;
    return choice < 3 ? waits[choice] : 0;
}

uint16_t channel(run *r) {
    static const uint16_t channels[] = {1, 2, 2, 2, 3, 4, 1, 256, 0, 5, 255, 65535};
    const unsigned choice = r->act->channel % 12;
    if (choice >= 7) {
        r->wrong |= r->wrong != 0 ? WRONG_OTHERWISE : 0; /* which of two faults is found first is not told */
    }
    return channels[choice];
}

void *buffer(run *r, size_t *capacity) {
    static const size_t sizes[] = {0, 16, 1000, BUFFER_ROOM};
    *capacity = sizes[r->act->more % 4];
    if (r->act->more >= 240) {
        r->wrong |= *capacity > 0 ? WRONG_ARGUMENT : 0;
        return NULL;
    }
    return r->buffer;
}

static char path[96];

static void remove_directory(void) {
    DIR *opened = opendir(path);
    for (struct dirent *entry; opened != NULL && (entry = readdir(opened)) != NULL;) {
        char name[sizeof(path) + sizeof(entry->d_name) + 1];
        snprintf(name, sizeof(name), "%s/%s", path, entry->d_name);
        unlink(name);
    }
    if (opened != NULL) {
        closedir(opened);
    }
    rmdir(path);
    /* Of listeners at the folder itself. */
    char lock[sizeof(path) + sizeof(".lock")];
    snprintf(lock, sizeof(lock), "%s.lock", path);
    unlink(lock);
}

const char *directory(void) {
    static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
    pthread_mutex_lock(&lock);
    if (path[0] == 0) {
        const char *parent = getenv("TMPDIR");
        snprintf(path, sizeof(path), "%s/hostlane-random-XXXXXX", parent != NULL ? parent : "/tmp");
        if (mkdtemp(path) == NULL) {
            perror(path);
            abort();
        }
        atexit(remove_directory);
    }
    pthread_mutex_unlock(&lock);
    return path;
}

const char *address(run *r, size_t *len) {
    static const char *const wrong[] = {
        "",          "unix:",     "tcp:192.0.2.1:5", "tcp:127.0.0.1:1",    "fd:999999",  "systemd:", "tls:nowhere:1",
        "pipe:name", "inproc:/.", "/nowhere/at/all", "spawn:/nowhere/all", "spawn:true", "spawn:",   "\xff\xfe",
    };
    const unsigned choice = r->act->channel;
    char *text = r->address;
    const size_t room = sizeof(r->address);
    if (choice < 120) {
        snprintf(text, room, "inproc:random-%u", choice % 2);
    } else if (choice < 170) {
        snprintf(text, room, "%s/%u", directory(), choice % 3);
    } else if (choice < 190) {
        snprintf(text, room, "unix:@%s-%u", strrchr(directory(), '/') + 1, choice % 2);
    } else if (choice < 200) {
        r->lent = lend(r);
        snprintf(text, room, "fd:%d", r->lent);
    } else if (choice < 205) {
        snprintf(text, room, "%s/%0200d", directory(), 7);
    } else if (choice < 210) {
        snprintf(text, room, "%s", directory());
    } else if (choice < 215) {
        *len = 1 + choice;
        r->wrong |= WRONG_ARGUMENT;
        return NULL;
    } else {
        snprintf(text, room, "%s", wrong[choice % (sizeof(wrong) / sizeof(wrong[0]))]);
    }
    /* Some of these name nothing that could be connected to or listened on. Which of two faults is found first is not
     * told. */
    r->doubtful |= choice >= 170;
    r->wrong |= r->wrong != 0 && choice >= 170 ? WRONG_OTHERWISE : 0;
    *len = strlen(text);
    return text;
}
