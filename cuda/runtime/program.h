// Programs: calls that were recorded once, with their arguments, and are made again by one call; on
// a GPU as a graph.
#pragma once
#include <cstdint>
#include <map>
#include <vector>

#include "runtime/context.h"

namespace cdn {

// The functions that a program may call, by the numbers that .ci/symbols.ts gives them.
struct Function {
  const char* name;
  int32_t (*call)(const int64_t* words, char* data);  // with arguments in this form
  int32_t parameters;
  uint64_t pointers;  // a bit for each that is one
};
const Function& function_at(int64_t number);  // throws for one that there is not

// The memory that a program's calls use. Scratch they take again each time in the same order: what
// a graph has recorded stays where it is.
class Footprint {
 public:
  void* scratch(Device& device, int64_t bytes);
  void call_ends();
  void note(uint32_t handle, Block* block, bool write);
  void use_all(Device& device) const;  // as the calls would one by one; throws where one is gone
  bool known = false;                  // each call was made once

 private:
  struct Scratch {
    BlockRef block;
    int64_t bytes;
    bool taken;
  };
  std::vector<Scratch> scratch_;
  struct Use {
    uint32_t handle;  // one of those on it
    bool write;
  };
  std::map<Block*, Use> used_;
};

class Program {
 public:
  // words: for each call the function's number and its arguments, in the order of its parameters: a
  // pointer is a place in data, or below 0 for none; a double is its bits.
  Program(int32_t device, std::vector<int64_t> words, std::vector<uint64_t> data,
          std::vector<uint32_t> uses);

  // Makes the calls so many times, or fewer where that takes more milliseconds; a status that is
  // not 0 is a call's own.
  int32_t run(int64_t times, double milliseconds, int64_t& done);
  void wait() const;  // until what was launched is done

 private:
  int32_t call_all();
  int32_t launch(Device& device, int64_t most, int64_t& launched);
  backend::GraphPointer record(Device& device, int64_t times, int32_t& status);

  const int32_t device_;
  std::vector<int64_t> words_;
  std::vector<uint64_t> data_;
  const std::vector<uint32_t> uses_;  // handles
  int64_t calls_ = 0;
  Footprint footprint_;
  backend::GraphPointer once_, many_;
};

}  // namespace cdn
