/* hostlane.h stands on its own. */
#include <hostlane.h>

/* ISO C wants a translation unit to declare something. */
extern const int hostlane_header_compiles;
const int hostlane_header_compiles = HOSTLANE_ABI_VERSION;
