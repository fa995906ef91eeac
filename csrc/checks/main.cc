// The engine without Python, for processors and sanitizers that Python does not come to: `elman_check targets|threads CASES`.
#include <cstdio>
#include <exception>
#include <string>

#include "cases.h"

int main(int count, char** arguments) {
  using namespace elman::checks;
  const std::string what = count == 3 ? arguments[1] : "";
  if (what != "targets" && what != "threads") return std::fprintf(stderr, "usage: elman_check targets|threads CASES\n"), 2;
  try {
    const std::vector<Case> cases = read_cases(arguments[2]);
    what == "targets" ? check_targets(cases) : check_threads(cases);
  } catch (const std::exception& error) {
    expect(false, error.what());
  }
  std::printf("%s: %s\n", what.c_str(), failures() ? "FAILED" : "all hold");
  return failures() ? 1 : 0;
}
