// OpenAI's SDK for Node against the gateway: `node openai_sdk.mjs '[[STEP, GIVEN], ...]'` prints
// what each step got, as JSON. The SDK wants a key; the gateway takes none.
import OpenAI from "openai";

const client = new OpenAI({
  baseURL: process.env.GATEWAY_URL,
  apiKey: "none",
  maxRetries: 0,
});

const mocked = (mock) => ({ metadata: { mock: JSON.stringify(mock ?? {}) } });

const steps = {
  async respond({ model, mock }) {
    const answer = await client.responses.create({ model, input: "hello", ...mocked(mock) });
    return { id: answer.id, text: answer.output_text, usage: answer.usage };
  },

  async stream({ model, mock }) {
    const stream = client.responses.stream({ model, input: "hello", ...mocked(mock) });
    let text = "";
    stream.on("response.output_text.delta", (event) => (text += event.delta));
    const answer = await stream.finalResponse();
    return { id: answer.id, text, whole: answer.output_text };
  },

  async tools({ model }) {
    const tools = [{
      type: "function", name: "weather", strict: true, description: "What the weather is.",
      parameters: {
        type: "object", properties: { city: { type: "string" } }, required: ["city"],
        additionalProperties: false,
      },
    }];
    const input = [{ role: "user", content: "How is the weather in Oslo?" }];
    const calls = [{ name: "weather", arguments: { city: "Oslo" } }];
    const first = await client.responses.create({
      model, tools, input, ...mocked({ kind: "tool", calls }),
    });
    const [call] = first.output;
    const output = `rain in ${JSON.parse(call.arguments).city}`;
    const second = await client.responses.create({
      model, tools, ...mocked({ text: "Take an umbrella." }),
      input: [...input, call, { type: "function_call_output", call_id: call.call_id, output }],
    });
    return { ids: [first.id, second.id], output, text: second.output_text };
  },

  async abort({ model, mock }) {
    const stream = await client.responses.create({
      model, input: "hello", stream: true, ...mocked(mock),
    });
    let events = 0;
    for await (const event of stream) {
      if (event.type === "response.output_text.delta" && ++events === 3) stream.controller.abort();
    }
    return { events };
  },

  async models() {
    const ids = [];
    for await (const model of client.models.list()) ids.push(model.id);
    return { ids };
  },

  async chat({ model, mock, options }) {
    const stream = await client.chat.completions.create({
      model, stream: true, messages: [{ role: "user", content: "hello" }], ...mocked(mock),
      ...(options ? { stream_options: options } : {}),
    });
    let id, text = "", usage = null, chunks = 0;
    for await (const chunk of stream) {
      chunks += 1;
      id = chunk.id;
      text += chunk.choices[0]?.delta?.content ?? "";
      usage = chunk.usage ?? usage;
    }
    return { id, text, usage, chunks };
  },

  async embed({ model }) {
    const answer = await client.embeddings.create({ model, input: ["a", "b"] });
    return { vectors: answer.data.map((each) => Array.from(each.embedding)), usage: answer.usage };
  },
};

const results = [];
for (const [step, given] of JSON.parse(process.argv[2])) {
  try {
    results.push(await steps[step](given));
  } catch (error) {
    const { status, code, type } = error;
    results.push({ error: error.constructor.name, message: error.message, status, code, type });
  }
}
console.log(JSON.stringify(results));
