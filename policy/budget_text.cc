// What a person reads about a limit. A developer sees the refusal through Codex, between "You've
// hit your usage limit." and "or try again at 3:06 AM.".
#include "policy/budget.h"
#include "policy/visible.h"

namespace tollgate::policy {
namespace {

std::string span_text(const Window& window) {
  switch (window.kind) {
    case Window::Kind::rolling:
      return "in the last " + to_string(window);
    case Window::Kind::day:
      return "today";
    case Window::Kind::week:
      return "this week";
    case Window::Kind::month:
      return "this month";
  }
  return "";
}

// "$45.10 of $50.00", "1,200 of 5,000 tokens".
std::string share_text(const LimitWords& words) {
  const LimitUnit unit = words.limit.unit;
  const std::string used =
      unit == LimitUnit::usd ? amount_text(unit, words.used) : thousands(words.used);
  return used + " of " + amount_text(unit, words.cap);
}

std::string owner(const LimitWords& words) {
  return words.limit.per == LimitScope::user ? "You have"
                                             : "Group " + visible(words.subject) + " has";
}

Refusal refuse_concurrent(const LimitWords& words) {
  return {RefusalCode::concurrency_exceeded,
          owner(words) + " " + std::to_string(words.used) + " of " + std::to_string(words.cap) +
              " requests running at once. Wait for one to end, or " + std::string(words.contact) +
              ".",
          ""};
}

Refusal refuse_too_large(const LimitWords& words) {
  return {RefusalCode::request_over_limit,
          "This request may take " + amount_text(words.limit.unit, words.wanted) +
              ", more than the whole limit of " + amount_text(words.limit.unit, words.cap) + " " +
              span_text(words.limit.window) +
              (words.limit.per == LimitScope::user ? std::string(" for you")
                                                   : " for group " + visible(words.subject)) +
              ". Ask for fewer output tokens or start with a smaller context, or " +
              std::string(words.contact) + ".",
          ""};
}

}  // namespace

std::string amount_text(LimitUnit unit, int64_t amount) {
  switch (unit) {
    case LimitUnit::usd:
      return format_usd_short(NanoUsd{amount});
    case LimitUnit::tokens:
      return thousands(amount) + " tokens";
    case LimitUnit::requests:
      return thousands(amount) + (amount == 1 ? " request" : " requests");
    case LimitUnit::concurrent:
      return thousands(amount) + " running";
  }
  return "";
}

std::string usage_text(const LimitWords& words) {
  std::string text(to_string(words.limit.per));
  text += " " + visible(words.subject) + ": " + share_text(words);
  if (words.limit.unit != LimitUnit::concurrent) text += " " + span_text(words.limit.window);
  return text;
}

Refusal exceeded_refusal(const LimitWords& words, int64_t resets_unix_ms) {
  const LimitUnit unit = words.limit.unit;
  if (unit == LimitUnit::concurrent) return refuse_concurrent(words);
  if (words.wanted > words.cap) return refuse_too_large(words);
  std::string text =
      owner(words) + " used " + share_text(words) + " " + span_text(words.limit.window);
  if (words.held > 0) text += ", running requests hold " + amount_text(unit, words.held);
  if (words.used + words.held < words.cap) {
    text += ", this one may take " + amount_text(unit, words.wanted);
  }
  // Rounded up: at the time that is shown, the request fits.
  const int64_t resets_unix_s = (resets_unix_ms + 999) / 1'000;
  return {RefusalCode::budget_exceeded, text + "; " + std::string(words.contact) + ".", "",
          resets_unix_s, text + "; " + std::string(words.contact)};
}

}  // namespace tollgate::policy
