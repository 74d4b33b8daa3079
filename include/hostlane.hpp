// hostlane for C++17: move-only owners over hostlane.h, nothing else.
//
// Every operation returns result<T>: the value, or an error with the HOSTLANE_E_ number of hostlane.h. value() gives
// the value and throws hostlane::exception instead when there is none. Destructors close and never throw.
//
// Objects may be used by several threads at once, like the handles of hostlane.h; close() may be called while others
// wait in the same object, and wakes them with HOSTLANE_E_CLOSED. Moving from or destroying an object needs the usual
// care: nobody else may be using it.

#ifndef HOSTLANE_HPP
#define HOSTLANE_HPP

#include "hostlane/batch.hpp"
#include "hostlane/bytes.hpp"
#include "hostlane/call.hpp"
#include "hostlane/context.hpp"
#include "hostlane/error.hpp"
#include "hostlane/event.hpp"
#include "hostlane/link.hpp"
#include "hostlane/listener.hpp"
#include "hostlane/log.hpp"
#include "hostlane/message.hpp"
#include "hostlane/options.hpp"
#include "hostlane/peer.hpp"
#include "hostlane/result.hpp"
#include "hostlane/stream.hpp"
#include "hostlane/submissions.hpp"
#include "hostlane/timeout.hpp"

#endif // HOSTLANE_HPP
