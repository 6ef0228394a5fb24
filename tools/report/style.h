// The page's style sheet and its few lines of script (tooltips over curves; the page is complete without them).
#pragma once

#include <string_view>

namespace r1::report {

std::string_view style_sheet();
std::string_view tooltip_script();

}  // namespace r1::report
