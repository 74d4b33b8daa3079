/* The acts of random calls: the functions of the C interface, and what makes pairs of objects. */

#ifndef RANDOM_ACTS_H
#define RANDOM_ACTS_H

#include "world.h"

/* The functions, each with what performs it. The number of an act is its place here, and the inputs that are kept in
 * fuzz/ have these numbers: with another order they are other calls. */
#define ACTS(X)                                                                                                        \
    X(abi_version, ask)                                                                                                \
    X(version, ask)                                                                                                    \
    X(status_name, ask)                                                                                                \
    X(status_meaning, ask)                                                                                             \
    X(send_batch, on_a_peer)                                                                                           \
    X(recv_batch, on_a_peer)                                                                                           \
    X(context_recv_batch, on_a_context)                                                                                \
    X(cork, on_a_peer)                                                                                                 \
    X(uncork, on_a_peer)                                                                                               \
    X(call_options_init, init_options)                                                                                 \
    X(request, on_a_peer)                                                                                              \
    X(request_with, on_a_peer)                                                                                         \
    X(call_start, on_a_peer)                                                                                           \
    X(call_wait, on_a_call)                                                                                            \
    X(call_cancel, on_a_call)                                                                                          \
    X(context_new, on_a_context)                                                                                       \
    X(context_fd, on_a_context)                                                                                        \
    X(context_process, on_a_context)                                                                                   \
    X(context_process_batch, on_a_context)                                                                             \
    X(context_next, on_a_context)                                                                                      \
    X(context_next_batch, on_a_context)                                                                                \
    X(context_connect, on_a_context)                                                                                   \
    X(context_accept, on_a_context)                                                                                    \
    X(context_recv, on_a_context)                                                                                      \
    X(context_send, on_a_context)                                                                                      \
    X(context_send_with, on_a_context)                                                                                 \
    X(context_reply, on_a_context)                                                                                     \
    X(context_fail, on_a_context)                                                                                      \
    X(context_call_ended, on_a_context)                                                                                \
    X(context_readable, on_a_context)                                                                                  \
    X(context_stream_send, on_a_context)                                                                               \
    X(context_stream_finish, on_a_context)                                                                             \
    X(context_stream_recv, on_a_context)                                                                               \
    X(context_timer, on_a_context)                                                                                     \
    X(context_request, on_a_context)                                                                                   \
    X(context_request_with, on_a_context)                                                                              \
    X(context_ping, on_a_context)                                                                                      \
    X(context_drain, on_a_context)                                                                                     \
    X(context_cancel, on_a_context)                                                                                    \
    X(context_close, on_a_context)                                                                                     \
    X(context_submit, on_a_context)                                                                                    \
    X(error_status, ask)                                                                                               \
    X(error_message, ask)                                                                                              \
    X(error_retryable, ask)                                                                                            \
    X(error_sent, ask)                                                                                                 \
    X(error_remote_status, ask)                                                                                        \
    X(error_data, ask)                                                                                                 \
    X(error_free, ask)                                                                                                 \
    X(events_free, ask)                                                                                                \
    X(info, on_a_peer)                                                                                                 \
    X(peer_address, on_a_peer)                                                                                         \
    X(stats, on_a_peer)                                                                                                \
    X(stats_on, on_a_peer)                                                                                             \
    X(listener_stats, on_a_listener)                                                                                   \
    X(link_options_init, init_options)                                                                                 \
    X(link_open, on_a_link)                                                                                            \
    X(link_next, on_a_link)                                                                                            \
    X(link_request, on_a_link)                                                                                         \
    X(link_send, on_a_link)                                                                                            \
    X(link_reply, on_a_link)                                                                                           \
    X(link_fail, on_a_link)                                                                                            \
    X(link_is_serving, on_a_link)                                                                                      \
    X(link_info, on_a_link)                                                                                            \
    X(link_stats, on_a_link)                                                                                           \
    X(link_stats_on, on_a_link)                                                                                        \
    X(link_fd, on_a_link)                                                                                              \
    X(link_start, on_a_link)                                                                                           \
    X(link_cancel, on_a_link)                                                                                          \
    X(link_call_ended, on_a_link)                                                                                      \
    X(link_process, on_a_link)                                                                                         \
    X(link_turn, on_a_link)                                                                                            \
    X(link_events, on_a_link)                                                                                          \
    X(link_close, on_a_link)                                                                                           \
    X(listen, on_a_listener)                                                                                           \
    X(accept, on_a_listener)                                                                                           \
    X(listener_address, on_a_listener)                                                                                 \
    X(listener_refusals, on_a_listener)                                                                                \
    X(listener_close, on_a_listener)                                                                                   \
    X(log_enable, on_the_log)                                                                                          \
    X(log_level, ask)                                                                                                  \
    X(log_drain, on_the_log)                                                                                           \
    X(log_events_free, ask)                                                                                            \
    X(message_channel, ask)                                                                                            \
    X(message_data, ask)                                                                                               \
    X(message_flags, ask)                                                                                              \
    X(message_is_request, ask)                                                                                         \
    X(message_call_id, ask)                                                                                            \
    X(message_timeout_ms, ask)                                                                                         \
    X(message_idempotency_key, ask)                                                                                    \
    X(message_trace, ask)                                                                                              \
    X(message_take_fds, on_a_message)                                                                                  \
    X(message_is_cancelled, ask)                                                                                       \
    X(message_wait_cancelled, on_a_message)                                                                            \
    X(message_stream, on_a_message)                                                                                    \
    X(message_free, ask)                                                                                               \
    X(reply, on_a_message)                                                                                             \
    X(fail, on_a_message)                                                                                              \
    X(connect_options_init, init_options)                                                                              \
    X(listen_options_init, init_options)                                                                               \
    X(connect, on_a_peer)                                                                                              \
    X(send, on_a_peer)                                                                                                 \
    X(send_with, on_a_peer)                                                                                            \
    X(recv, on_a_peer)                                                                                                 \
    X(recv_on, on_a_peer)                                                                                              \
    X(ping, on_a_peer)                                                                                                 \
    X(drain, on_a_peer)                                                                                                \
    X(attach, on_a_peer)                                                                                               \
    X(close, on_a_peer)                                                                                                \
    X(stream_open, on_a_peer)                                                                                          \
    X(stream_call_id, on_a_stream)                                                                                     \
    X(stream_send, on_a_stream)                                                                                        \
    X(stream_finish, on_a_stream)                                                                                      \
    X(stream_recv, on_a_stream)                                                                                        \
    X(stream_reply, on_a_stream)                                                                                       \
    X(stream_close, on_a_stream)

#define ACT_NUMBER(name, by) ACT_##name,

/* Behind the functions the pairs. */
enum { ACTS(ACT_NUMBER) FUNCTIONS, PAIR = FUNCTIONS, PAIR_OF_A_CONTEXT, PAIR_OF_LINKS, ACT_COUNT };

/* What performs an act; true when the function succeeded. One file for each noun that functions are called on. */
bool on_a_peer(run *r);
bool on_a_listener(run *r);
bool on_a_context(run *r);
bool on_a_link(run *r);
bool on_a_stream(run *r);
bool on_a_call(run *r);
bool on_a_message(run *r);
bool on_the_log(run *r);

/* Those without a status, in ask.c. */
bool ask(run *r);
bool init_options(run *r);

/* Pairs of objects that are connected. */
bool pair(run *r);
bool pair_of_a_context(run *r);
bool pair_of_links(run *r);

#endif
