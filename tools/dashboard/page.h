// The page of a dashboard: one self-contained document, which asks its server for everything else - no font, script or picture
// from anywhere. Looks like report.html (tools/report/style.h). Thread rule: pure functions.
#pragma once

#include <string>
#include <string_view>

namespace r1::dashboard {

// `nonce`: that scripts are let in by.
std::string dashboard_page(const std::string& graph, const std::string& nonce);
std::string page_policy(const std::string& nonce);  // the Content-Security-Policy that goes with it

// The page's script, around the report's for tooltips.
std::string_view dashboard_script_begin();
std::string_view dashboard_script_end();

}  // namespace r1::dashboard
