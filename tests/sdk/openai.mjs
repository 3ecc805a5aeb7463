// OpenAI's chat completions and Responses by its Node SDK; what is asked where, and what is told, is said in common.py.

import { readFileSync } from "node:fs";
import { createRequire } from "node:module";

// The packages stand where the test has installed them, not beside this file.
const require = createRequire(`${process.env.SDK_PACKAGES}/`);
const OpenAI = require("openai");
const { zodResponseFormat, zodTextFormat } = require("openai/helpers/zod");
const { z } = require("zod");

const PLAN = JSON.parse(process.env.SDK_PLAN);
const VIAS = ["direct", ...PLAN.providers];
const COUNTED = { stream_options: { include_usage: true } };
const ADDED = ["parsed", "parsed_arguments", "output_parsed", "output_text", "_request_id"];

const Complaint = z.object({
  category: z.enum(["damaged", "late", "wrong_item", "other"]),
  urgent: z.boolean(),
  summary: z.string(),
  items: z.array(z.string()),
  refund_eur: z.number().nullable(),
});

function placeOf(format, name, via) {
  const direct = via === "direct";
  const base = direct ? `${PLAN.direct[format]}/${name}` : PLAN.gate;
  const golden = name === "parsed" ? "structured_output" : name.startsWith("error.") ? "plain" : name;
  const asked = JSON.parse(readFileSync(`${PLAN.chats}/${golden}/${format}.request.json`, "utf8"));
  if (!direct) asked.model = `${via}-${name}`.replaceAll(/[_.]/g, "-");
  const client = new OpenAI({ baseURL: `${base}/v1`, apiKey: "sk-of-nobody", maxRetries: 0, timeout: 60_000 });
  const tell = (how, said) => console.log(JSON.stringify({ format, case: name, via, how, ...said }));
  const refused = async (how, ask) => {
    try {
      await ask();
    } catch (error) {
      const kinds = [];
      for (let kind = error.constructor; kind.name; kind = Object.getPrototypeOf(kind)) kinds.push(kind.name);
      const { status, type, code, param } = error;
      return tell(how, { error: { kinds, status, type, code, param, message: error.error.message } });
    }
    throw new Error(`${format} ${name} by ${via}: no error`);
  };
  return { asked, client, tell, refused };
}

// Without what the SDK adds by itself.
const bare = (value) => JSON.parse(JSON.stringify(value, (name, item) => (ADDED.includes(name) ? undefined : item)));

async function all(stream) {
  const events = [];
  for await (const event of await stream) events.push(event);
  return events;
}

async function chat() {
  for (const name of PLAN.cases) {
    for (const via of VIAS) {
      const { asked, client, tell } = placeOf("openai", name, via);
      const chat = client.chat.completions;
      tell("whole", { object: bare(await chat.create(asked)) });
      tell("stream", { events: await all(chat.create({ ...asked, stream: true, ...COUNTED })) });
      tell("helper", { object: bare(await chat.stream({ ...asked, ...COUNTED }).finalChatCompletion()) });
    }
  }
  for (const via of VIAS) {
    const { asked, client, tell } = placeOf("openai", "parsed", via);
    asked.response_format = zodResponseFormat(Complaint, "complaint");
    const chat = client.chat.completions;
    const whole = await chat.parse(asked);
    tell("whole", { object: bare(whole), parsed: whole.choices[0].message.parsed });
    const streamed = await chat.stream({ ...asked, ...COUNTED }).finalChatCompletion();
    tell("helper", { object: bare(streamed), parsed: streamed.choices[0].message.parsed });
  }
}

async function responses() {
  for (const name of PLAN.cases) {
    for (const via of VIAS) {
      const { asked, client, tell } = placeOf("responses", name, via);
      tell("whole", { object: bare(await client.responses.create(asked)) });
      tell("stream", { events: await all(client.responses.create({ ...asked, stream: true })) });
      tell("helper", { object: bare(await client.responses.stream(asked).finalResponse()) });
    }
  }
  for (const via of VIAS) {
    const { asked, client, tell } = placeOf("responses", "parsed", via);
    asked.text = { format: zodTextFormat(Complaint, "complaint") };
    const whole = await client.responses.parse(asked);
    tell("whole", { object: bare(whole), parsed: whole.output_parsed });
    const streamed = await client.responses.stream(asked).finalResponse();
    tell("helper", { object: bare(streamed), parsed: streamed.output_parsed });
  }
}

async function refusals(format, create) {
  for (const via of VIAS) {
    for (const error of PLAN.errors[via === "direct" ? format : via]) {
      const { asked, client, refused } = placeOf(format, `error.${error}`, via);
      await refused("whole", () => create(client, asked));
      await refused("stream", () => all(create(client, { ...asked, stream: true })));
    }
  }
}

await chat();
await responses();
await refusals("openai", (client, asked) => client.chat.completions.create(asked));
await refusals("responses", (client, asked) => client.responses.create(asked));
