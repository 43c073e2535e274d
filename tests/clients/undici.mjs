// Node's undici over HTTP/1.1 (pipelined) and HTTP/2. Arguments: the http port, the https port, the authority's file.
import { readFileSync } from "node:fs";
import { Client } from "undici";

const [http, https, authority] = process.argv.slice(2);
const ca = readFileSync(authority);
let failed = 0;

function check(what, seen, expected) {
  const same = JSON.stringify(seen) === JSON.stringify(expected);
  failed += same ? 0 : 1;
  console.log(`${same ? "ok   " : "WRONG"} ${what}: ${JSON.stringify(seen)}${same ? "" : `, not ${JSON.stringify(expected)}`}`);
}

async function converse(name, origin, options) {
  const client = new Client(origin, { connect: { ca }, ...options });
  const gets = Array.from({ length: 20 }, (_, n) => client.request({ path: `/web/echo?${n}`, method: "GET" }));
  const paths = await Promise.all(gets.map(async (got) => (await (await got).body.json()).path));
  check(`${name} 20 GETs at once, in order`, paths, Array.from({ length: 20 }, (_, n) => `/echo?${n}`));
  const posted = await client.request({ path: "/web/echo", method: "POST", body: Buffer.alloc(300_000) });
  check(`${name} POST`, (await posted.body.json()).length, 300_000);
  const large = await client.request({ path: "/web/large", method: "GET" });
  check(`${name} GET 1 MiB`, (await large.body.arrayBuffer()).byteLength, 1 << 20);
  await client.close();
}

await converse("undici HTTP/1.1, pipelined", `http://localhost:${http}`, { pipelining: 10 });
await converse("undici HTTP/1.1 over TLS", `https://localhost:${https}`, { allowH2: false });
await converse("undici HTTP/2", `https://localhost:${https}`, { allowH2: true });
process.exit(failed ? 1 : 0);
