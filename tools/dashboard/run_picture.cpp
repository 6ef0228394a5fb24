#include "tools/dashboard/run_picture.h"

#include <sys/resource.h>
#include <unistd.h>

#include <charconv>
#include <filesystem>
#include <fstream>
#include <nlohmann/json.hpp>
#include <sstream>
#include <string_view>

#include "actors/stored_rows.h"

namespace r1::dashboard {

namespace {

constexpr double kWindow_s = 8, kShortest_s = 0.5;

// The numbers of an object.
std::map<std::string, double> numbers_in(const nlohmann::ordered_json& object) {
  std::map<std::string, double> out;
  for (const auto& [name, value] : object.items())
    if (value.is_number()) out[name] = value.get<double>();
  return out;
}

// As the kernel prints one; 0 where there is none.
int64_t proc_number(std::string_view text) {
  int64_t value = 0;
  std::from_chars(text.data(), text.data() + text.size(), value);
  return value;
}

}  // namespace

PictureTaker::PictureTaker(const GraphView& graph, std::filesystem::path run_dir, RunLabels labels, const ShellSources& sources)
    : graph_(graph),
      labels_(std::move(labels)),
      sources_(sources),
      store_(RunStore::open_read_only(run_dir)),
      watch_(graph, *store_) {}

void PictureTaker::read(const StageRow& row, Known& known) const {
  const auto batches = store_->batch_stats(row.id, known.next);
  for (const auto& [version, text] : batches) {
    const nlohmann::json stats = batch_stats_in(*store_, row.id, version, text);
    // What was learned follows what was sampled: the newest batch is read when both are there.
    if (&text == &batches.back().second && !stats.contains("trained_tokens") && !row.ended()) break;
    known.next = version + 1;
    known.tokens_trained += stats.value("tokens", 0.0);
    known.statistics = numbers_in(stats);
  }
  const auto totals = store_->metric_totals(row.id);
  if (const auto generated = totals.find("tokens_generated"); generated != totals.end())
    known.tokens_generated = generated->second.sum;
  known.ledger = store_->ledger(row.id);
  for (const EvaluationRow& evaluation : store_->evaluations(row.id))
    if (evaluation.moment != "during")
      for (const auto& [name, value] : numbers_in(evaluation_metrics_in(*store_, row.id, evaluation)))
        known.held_out[evaluation.moment].emplace(name, value);
  known.ended = row.ended();
}

ProcessPicture PictureTaker::process() {
  ProcessPicture p;
  rusage used{};
  ::getrusage(RUSAGE_SELF, &used);
  const auto seconds = [](const timeval& t) { return static_cast<double>(t.tv_sec) + 1e-6 * static_cast<double>(t.tv_usec); };
  p.cpu_s = seconds(used.ru_utime) + seconds(used.ru_stime);
  std::ifstream in("/proc/self/stat");
  std::string text((std::istreambuf_iterator<char>(in)), std::istreambuf_iterator<char>());
  // The name may hold anything; what follows its ')' are numbers. Fields by proc(5): 20 threads, 22 start, 23 vsize, 24 rss.
  if (const size_t end = text.rfind(')'); end != text.npos) {
    std::istringstream fields(text.substr(end + 2));
    std::vector<std::string> words;
    for (std::string word; fields >> word;) words.push_back(word);
    const auto field = [&](size_t n) { return n - 3 < words.size() ? proc_number(words[n - 3]) : 0; };
    p.threads = static_cast<int>(field(20));
    p.virtual_bytes = field(23);
    p.resident_bytes = field(24) * ::sysconf(_SC_PAGESIZE);
    std::ifstream stat("/proc/stat");
    for (std::string line; std::getline(stat, line);)
      if (line.rfind("btime ", 0) == 0)
        p.started_wall_s = static_cast<double>(proc_number(std::string_view(line).substr(6))) +
                           static_cast<double>(field(22)) / static_cast<double>(::sysconf(_SC_CLK_TCK));
  }
  std::error_code ignored;
  for (auto it = std::filesystem::directory_iterator("/proc/self/fd", ignored); it != std::filesystem::directory_iterator();
       it.increment(ignored))
    ++p.open_files;
  return p;
}

RunPicture PictureTaker::take() {
  RunPicture picture;
  picture.labels = labels_;
  picture.wall_s = wall_clock_s();
  picture.process = process();
  picture.roles = sources_.roles();
  picture.waits = sources_.waits->waits();
  picture.several_processes = sources_.nodes != nullptr;
  if (sources_.nodes) picture.nodes = sources_.nodes();

  Mark mark{clock_.now_s(), picture.process.cpu_s, {}};
  for (ChannelRow& row : sources_.waits->channels()) {
    mark.sent[row.edge] = row.sent;
    picture.channels.push_back({std::move(row), {}});
  }
  while (marks_.size() > 1 && marks_.front().at_s < mark.at_s - kWindow_s) marks_.pop_front();
  if (!marks_.empty() && mark.at_s - marks_.front().at_s >= kShortest_s) {
    const Mark& then = marks_.front();
    const double passed = mark.at_s - then.at_s;
    picture.process.cores_used = (mark.cpu_s - then.cpu_s) / passed;
    for (ChannelPicture& channel : picture.channels) {
      const auto before = then.sent.find(channel.row.edge);
      // A stage that has started again counts from 0.
      if (before != then.sent.end() && before->second <= channel.row.sent)
        channel.per_s = static_cast<double>(channel.row.sent - before->second) / passed;
    }
  }
  marks_.push_back(std::move(mark));

  std::map<std::string, StageRow> rows;
  for (StageRow& row : store_->stages()) rows[row.name] = row;
  std::map<std::string, ShellStage> live;
  for (ShellStage& stage : sources_.stages()) live[stage.name] = stage;
  for (const auto& [name, row] : rows)
    if (row.status == StageStatus::running && !std::exchange(known_[name].started, true)) watch_.started(name);
  const terminal::ScreenState screen = watch_.state("");
  picture.seconds = screen.seconds;
  picture.left_s = screen.left_s;
  picture.left_is_minimum = screen.left_is_minimum;
  for (size_t i = 0; i < graph_.stages.size(); ++i) {
    StagePicture& stage = picture.stages.emplace_back();
    stage.name = graph_.stages[i].name;
    stage.label = graph_.stages[i].label;
    stage.phase = word_of(stage.status);
    const auto row = rows.find(stage.name);
    if (row == rows.end()) continue;
    stage.status = row->second.status;
    stage.phase = word_of(stage.status);
    stage.verdict = row->second.verdict;
    stage.times = StageTimes::of(*store_, row->second);
    if (const auto now = live.find(stage.name); now != live.end()) {
      stage.phase = now->second.phase;
      stage.times = now->second.times;
      stage.restarts = now->second.restarts;
    }
    if (stage.status == StageStatus::waiting) continue;
    Known& known = known_[stage.name];
    if (!known.ended) read(row->second, known);
    stage.batches = store_->batch_count(row->second.id);
    stage.tokens_trained = known.tokens_trained;
    stage.tokens_generated = known.tokens_generated;
    stage.ledger = known.ledger;
    stage.statistics = known.statistics;
    stage.held_out = known.held_out;
    const terminal::StageState& shown = screen.stages[i];
    stage.limit = shown.limit;
    stage.left_s = shown.left_s;
    if (stage.status == StageStatus::running) {
      if (shown.trainer_tokens_s > 0) stage.trained_per_s = shown.trainer_tokens_s;
      if (shown.generator_tokens_s > 0) stage.generated_per_s = shown.generator_tokens_s;
    }
  }
  return picture;
}

}  // namespace r1::dashboard
