// The Codex SDK against the gateway: one thread, two turns; prints them as JSON.
import { Codex } from "@openai/codex-sdk";

const options = JSON.parse(process.argv[2] ?? "{}");
const thread = new Codex(options).startThread({ skipGitRepoCheck: true, model: "gpt-5.5" });
const turns = [];
for (const words of ["Say hello.", "And once more."]) {
  const { finalResponse, usage } = await thread.run(words);
  turns.push({ text: finalResponse, usage });
}
console.log(JSON.stringify({ thread: thread.id, turns }));
