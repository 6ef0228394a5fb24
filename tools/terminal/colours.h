// Whether what goes to a terminal may be coloured. Thread rule: any thread.
#pragma once

namespace r1::terminal {

// `descriptor` is a terminal that can, and nobody said NO_COLOR.
bool shows_colours(int descriptor);

}  // namespace r1::terminal
