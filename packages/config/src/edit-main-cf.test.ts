import assert from "node:assert/strict";
import { describe, it } from "node:test";

import { editMainCf } from "./edit-main-cf.ts";
import type { MainCfEdit } from "./edit-main-cf.ts";

const mainCf = `# our relay
relayhost = [mx.example.com]
mynetworks = 127.0.0.0/8,
# the office

  192.0.2.0/24
  198.51.100.0/24
myhostname=mail.example.com`;

function edited(kind: MainCfEdit["kind"], values: Readonly<Record<string, string>>) {
  const repeated: string[] = [];
  const edit = { kind, values: new Map(Object.entries(values)) };
  const text = editMainCf(mainCf, edit, (name) => repeated.push(name));
  return { text, repeated };
}

describe("editMainCf", () => {
  it("sets a value where it stands, drops its continuation lines, and keeps comments and the rest", () => {
    assert.equal(
      edited("set", { mynetworks: "10.0.0.0/8", bounce_queue_lifetime: "2d" }).text,
      `# our relay
relayhost = [mx.example.com]
mynetworks = 10.0.0.0/8
# the office

myhostname=mail.example.com
bounce_queue_lifetime = 2d
`,
    );
  });

  it("removes, or comments out, a whole value", () => {
    assert.equal(
      edited("remove", { mynetworks: "" }).text,
      "# our relay\nrelayhost = [mx.example.com]\n# the office\n\nmyhostname=mail.example.com\n",
    );
    assert.match(
      edited("comment out", { mynetworks: "" }).text,
      /^#mynetworks = 127\.0\.0\.0\/8,\n# the office\n\n# {2}192\.0\.2\.0\/24\n# {2}198/m,
    );
  });

  it("changes every place of a parameter that is set twice, and tells", () => {
    const edit = { kind: "set", values: new Map([["a", "3"]]) } as const;
    const repeated: string[] = [];
    const text = editMainCf("a = 1\na = 2\n", edit, (name) => repeated.push(name));
    assert.equal(text, "a = 3\na = 3\n");
    assert.deepEqual(repeated, ["a"]);
  });
});
