/* What several tests need: an address of their own, a connected pair, a thread that echoes, a raw socket. */

#ifndef LANE_H
#define LANE_H

#include "check.h"

#include <pthread.h>
#include <stdbool.h>

/* Longer than anything here should take; shorter than the limit of ctest. */
#define LONG 20000

/* The path of `name` in a directory of this process, which is removed at exit. Valid until the next call. */
const char *lane_path(const char *name);

/* Listens on `name` with options that may be NULL. */
hostlane_listener_t lane_listen(const char *name, const hostlane_listen_options_t *options);

/* Connects to `name` in a thread of its own, so that the caller can accept meanwhile. */
typedef struct {
    pthread_t thread;
    char path[128];
    const hostlane_connect_options_t *options;
    hostlane_status_t status;
    hostlane_peer_t peer;
} lane_connecting;
void lane_connect_start(lane_connecting *connecting, const char *name, const hostlane_connect_options_t *options);
hostlane_status_t lane_connect_end(lane_connecting *connecting);

/* Two ends of one connection. */
typedef struct {
    hostlane_listener_t listener;
    hostlane_peer_t client;
    hostlane_peer_t server;
} lane;
lane lane_open(void);
lane lane_open_with(const hostlane_listen_options_t *listening, const hostlane_connect_options_t *connecting);
void lane_close(lane *lane);

/* A thread that answers every message of a peer on its channel until the other side ends. */
typedef struct {
    pthread_t thread;
    hostlane_peer_t peer;
    hostlane_status_t end;
} lane_echo;
void lane_echo_start(lane_echo *echo, hostlane_peer_t peer);
void lane_echo_end(lane_echo *echo);

/* Waits until `peer` has `count` operations waiting; fails after LONG. */
void lane_wait_pending(hostlane_peer_t peer, uint64_t count);

/* Serves handshakes until the listener refused `count` of them; fails after LONG, or when one succeeds. */
void lane_refuse(hostlane_listener_t listener, uint64_t count);

/* A client that writes whatever it likes: connected, and with the handshake behind it. */
int lane_raw_connect(const char *name);
int lane_raw_open(hostlane_listener_t listener, const char *name, hostlane_peer_t *server);
void lane_raw_write(int fd, const void *data, size_t len);

/* Milliseconds of a clock that only goes forward. */
int64_t lane_now(void);

/* Makes SIGUSR1 interrupt system calls. */
void lane_catch_signal(void);

/* Sends SIGUSR1 to `thread`: once, or until `*done`. */
void lane_signal(pthread_t thread);
void lane_signal_until(pthread_t thread, const bool *done);

#endif
