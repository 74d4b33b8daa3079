/* What comes back from a call: whether it may be so, and what the run keeps of it. */

#ifndef RANDOM_RESULTS_H
#define RANDOM_RESULTS_H

#include "world.h"

/* Where the error goes, which may be nowhere. */
hostlane_error_t **err(run *r);

/* An output of `size` bytes: NULL if the act says so, which the header forbids or allows. */
void *output(run *r, size_t size);
void *optional_output(run *r, size_t size);

/* Judges what a call answered against what was drawn for it; true when it succeeded. */
bool judge(run *r, hostlane_status_t status);

/* The same for calls that make or end an object, or hand out events; what they made is kept. */
bool new_handle(run *r, hostlane_status_t status, kind of, const void *handle);
bool new_message(run *r, hostlane_status_t status, hostlane_message_t **message);
bool one_event(run *r, hostlane_status_t status, hostlane_event_t *event);
bool many_events(run *r, hostlane_status_t status, hostlane_event_t *events, const size_t *n, size_t cap);
/* Makes the call, too. */
bool ended(run *r, kind of);

/* Reads all that a result has. */
void see_bytes(const void *data, size_t len);
bool see_text(run *r, const char *text);
void see_info(run *r, const hostlane_info_t *info);

/* Sees it, and keeps what can be used again. Events are freed twice. */
void take_message(run *r, hostlane_message_t **message);
void take_events(run *r, hostlane_event_t *events, size_t n);
void take_entries(run *r, hostlane_entry_t *entries, size_t n, size_t capacity);

#endif
