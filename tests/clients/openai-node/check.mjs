// Talks to the server at ANTIPHON_URL with the official client and prints one line per check; exits with 1 when one fails.
import OpenAI from "openai";

const client = new OpenAI({ baseURL: process.env.ANTIPHON_URL + "/v1", apiKey: process.env.ANTIPHON_API_KEY ?? "none", maxRetries: 0, timeout: 60_000 });
const messages = [{ role: "user", content: "Tell me a story about a fox and a river." }];
let failed = 0;

function equal(actual, wanted, what) {
  if (actual !== wanted) throw new Error(`${what}: ${JSON.stringify(actual)} instead of ${JSON.stringify(wanted)}`);
}

function holds(condition, what) {
  if (!condition) throw new Error(what);
}

async function check(name, body) {
  try {
    await body();
    console.log(`ok ${name}`);
  } catch (error) {
    failed++;
    console.log(`FAILED ${name}: ${error?.message ?? error}`);
  }
}

await check("chat", async () => {
  const answer = await client.chat.completions.create({ model: "tales", messages, max_completion_tokens: 24, temperature: 0 });
  equal(answer.object, "chat.completion", "object");
  equal(answer.choices[0].message.role, "assistant", "role");
  holds(answer.choices[0].message.content.length > 0, "no content");
  equal(answer.choices[0].finish_reason, "length", "finish reason");
  equal(answer.usage.completion_tokens, 24, "completion tokens");
  equal(answer.usage.total_tokens, answer.usage.prompt_tokens + 24, "total tokens");
});

await check("stream", async () => {
  const options = { model: "tales", messages, max_completion_tokens: 24, temperature: 0 };
  const whole = await client.chat.completions.create(options);
  const stream = await client.chat.completions.create({ ...options, stream: true, stream_options: { include_usage: true } });
  let text = "", finish = null, usage = null, chunks = 0;
  for await (const chunk of stream) {
    chunks++;
    text += chunk.choices[0]?.delta?.content ?? "";
    finish = chunk.choices[0]?.finish_reason ?? finish;
    usage = chunk.usage ?? usage;
  }
  equal(text, whole.choices[0].message.content, "text");
  equal(finish, "length", "finish reason");
  equal(usage?.completion_tokens, 24, "usage");
  holds(chunks > 5, `only ${chunks} chunks`);
});

await check("logprobs", async () => {
  const answer = await client.chat.completions.create({ model: "tales", messages, max_completion_tokens: 5, temperature: 0, logprobs: true, top_logprobs: 3 });
  const content = answer.choices[0].logprobs.content;
  equal(content.length, 5, "positions");
  for (const position of content) {
    equal(position.top_logprobs.length, 3, "alternatives");
    holds(position.logprob <= 0, "a positive log-probability");
    equal(position.top_logprobs[0].token, position.token, "the greedy token");
  }
});

await check("n", async () => {
  const answer = await client.chat.completions.create({ model: "tales", messages, max_completion_tokens: 12, n: 3, seed: 5, temperature: 1 });
  equal(answer.choices.map((choice) => choice.index).join(), "0,1,2", "indices");
  equal(answer.usage.completion_tokens <= 36, true, "completion tokens");
});

await check("completions", async () => {
  const answer = await client.completions.create({ model: "tales", prompt: "The fox", max_tokens: 6, temperature: 0, echo: true });
  equal(answer.object, "text_completion", "object");
  holds(answer.choices[0].text.startsWith("The fox"), "no echo");
});

await check("errors", async () => {
  const refused = async (options, type, status) => {
    try {
      await client.chat.completions.create({ model: "tales", messages, ...options });
    } catch (error) {
      holds(error instanceof type, `${error?.constructor?.name} for ${JSON.stringify(options)}`);
      equal(error.status, status, "status");
      holds(error.error?.message?.length > 0, "no message");
      return error;
    }
    throw new Error(`not refused: ${JSON.stringify(options)}`);
  };
  equal((await refused({ temperature: -1 }, OpenAI.BadRequestError, 400)).param, "temperature", "param");
  await refused({ n: 1000 }, OpenAI.BadRequestError, 400);
  await refused({ messages: [] }, OpenAI.BadRequestError, 400);
  equal((await refused({ model: "none" }, OpenAI.NotFoundError, 404)).code, "model_not_found", "code");
});

await check("models", async () => {
  const ids = [];
  for await (const model of client.models.list()) ids.push(model.id);
  holds(ids.includes("tales"), `no tales among ${ids}`);
  equal((await client.models.retrieve("tales")).id, "tales", "id");
});

await check("cancel", async () => {
  const stream = await client.completions.create({ model: "tales", prompt: "The fox", max_tokens: 900, stream: true, ignore_eos: true });
  let chunks = 0;
  for await (const _ of stream) {
    if (++chunks === 3) stream.controller.abort();
  }
  holds(chunks < 500, `${chunks} chunks after abort`);
  const answer = await client.completions.create({ model: "tales", prompt: "The fox", max_tokens: 3 });
  equal(answer.usage.completion_tokens, 3, "tokens of the next answer");
});

process.exit(failed === 0 ? 0 : 1);
