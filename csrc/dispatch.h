// Which targets this processor runs.
#pragma once

#include <string>
#include <vector>

#include "call.h"

namespace elman {

std::vector<std::string> targets_here();              // best first
const Target* find_target(const std::string& name);   // nullptr: unknown, or not on this processor

}  // namespace elman
