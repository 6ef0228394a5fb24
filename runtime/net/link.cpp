#include "runtime/net/link.h"

#include <unistd.h>

#include <utility>

namespace r1 {

std::string_view packet_kind_name(PacketKind kind) {
  using enum PacketKind;
  static constexpr std::pair<PacketKind, std::string_view> kNames[] = {
      {hello, "hello"},       {welcome, "welcome"}, {refuse, "refuse"},   {beat, "beat"},     {bye, "bye"},
      {more, "more"},         {stop, "stop"},       {leave, "leave"},     {open, "open"},     {ready, "ready"},
      {close, "close"},       {closed, "closed"},   {payload, "payload"}, {credit, "credit"}, {stage_end, "stage_end"},
      {finished, "finished"}, {failed, "failed"},   {records, "records"}, {ask, "ask"},       {answer, "answer"},
      {whole, "whole"},       {held, "held"},       {get, "get"},         {blob, "blob"},     {no_blob, "no_blob"},
      {command, "command"},   {reply, "reply"},     {watch, "watch"},     {update, "update"}, {unwatch, "unwatch"},
      {token, "token"},       {rank, "rank"},       {content, "content"}, {want, "want"},     {parents, "parents"},
      {have, "have"},         {listen, "listen"},   {listens, "listens"}, {forget, "forget"}};
  for (const auto& [k, name] : kNames)
    if (k == kind) return name;
  return {};
}

PeerHello hello_of_this_process(std::string build) {
  PeerHello hello;
  hello.build = std::move(build);
  char host[256] = "";
  ::gethostname(host, sizeof host - 1);
  hello.host = host;
  hello.pid = ::getpid();
  return hello;
}

std::vector<WireFrame> wire_frames(std::vector<std::string> frames) {
  std::vector<WireFrame> shared;
  shared.reserve(frames.size());
  for (std::string& frame : frames) shared.emplace_back(std::move(frame));
  return shared;
}

std::vector<std::string> frame_strings(const std::vector<WireFrame>& frames) {
  std::vector<std::string> strings;
  strings.reserve(frames.size());
  for (const WireFrame& frame : frames) strings.emplace_back(frame.bytes());
  return strings;
}

}  // namespace r1
