// A library of the vendor's, opened at run time if it is there: so that nothing of it is needed to
// build, nor to run what does without. Only the C ABI matters, so its functions are declared here.
#pragma once
#include <dlfcn.h>

#include <cstdlib>
#include <string>
#include <vector>

namespace cdn {

struct VendorLibrary {
  void* library = nullptr;
  std::string path;     // it was opened by
  std::string why_not;  // empty where all that was looked for is there

  // `variable` of the environment may name the library, or the directory it is in; else the usual
  // names and places.
  VendorLibrary(const char* variable, const std::vector<std::string>& names) {
    const char* set = getenv(variable);
    const bool given = set && *set;
    const std::string directory = given ? set : "/usr/local/cuda/lib64";
    std::vector<std::string> paths = names;
    if (given) paths = {directory};
    for (const std::string& name : names) paths.push_back(directory + "/" + name);
    for (const std::string& candidate : paths)
      if ((library = open(candidate))) {
        path = candidate;
        why_not.clear();
        return;
      }
  }

  // Null, and why added to why_not, where it cannot be.
  void* open(const std::string& file) {
    void* opened = dlopen(file.c_str(), RTLD_LAZY | RTLD_LOCAL);
    if (opened) return opened;
    const char* error = dlerror();
    why_not += std::string(why_not.empty() ? "" : "; ") + (error ? error : file.c_str());
    return nullptr;
  }

  template <class F> void find(F& function, const char* name) {
    if (!why_not.empty()) return;
    function = reinterpret_cast<F>(dlsym(library, name));
    if (!function) why_not = std::string("it has no ") + name;
  }
};

}  // namespace cdn
