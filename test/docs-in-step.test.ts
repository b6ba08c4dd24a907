/**
 * Documents that must say what the code says.
 *
 * Source: STYLE §6 (ERRORS.md), §7 (PARAMETERS.md).
 */
import assert from "node:assert/strict";
import { globSync, readFileSync } from "node:fs";
import { join } from "node:path";
import { describe, it } from "node:test";
import { fileURLToPath } from "node:url";
import { errorCodes } from "@postmq/vocabulary";

const root = fileURLToPath(new URL("..", import.meta.url));

function headings(file: string): readonly string[] {
  const text = readFileSync(join(root, file), "utf8");
  return [...text.matchAll(/^## (\S+)$/gm)].map((match) => match[1] ?? "");
}

describe("docs/ERRORS.md", () => {
  it("has one paragraph for each error code, and none for others", () => {
    assert.deepEqual([...headings("docs/ERRORS.md")].sort(), [...errorCodes].sort());
  });

  it("has only codes that something throws or hands on", () => {
    const sources = globSync("{packages,services}/*/src/**/*.ts", { cwd: root })
      .filter((file) => !file.includes(".test") && !file.startsWith("packages/vocabulary"))
      .map((file) => readFileSync(join(root, file), "utf8"))
      .join("\n");
    const unused = errorCodes.filter((code) => !sources.includes(`"${code}"`));
    assert.deepEqual(unused, []);
  });
});

describe("docs/PARAMETERS.md", () => {
  /** Where each reader's code is; what service-kit and shared packages read, they read for the services. */
  const folders: Readonly<Record<string, string>> = {
    commands: "packages/commands/src",
    start: "packages/commands/src/start",
  };

  /** Read where other parameters are expanded. */
  const expandedOnly = ["mydomain", "default_delivery_status_filter"];

  it("names a reader for a parameter only if code of that reader, or of a shared package, reads it", () => {
    const text = readFileSync(join(root, "docs/PARAMETERS.md"), "utf8");
    const shared = sourceOf(
      "packages/{service-kit,rewriting,routing,queue-admin,observability,dns}/src",
    );
    const wrong: string[] = [];
    for (const section of text.split(/^## /m).slice(1)) {
      const name = section.slice(0, section.indexOf("\n"));
      const readers = /^- Read by: (.*)$/m.exec(section)?.[1] ?? "";
      if (readers === "nobody yet" || expandedOnly.includes(name)) continue;
      for (const reader of readers.split(", ")) {
        const own = sourceOf(folders[reader] ?? `services/${reader}/src`);
        // default_x and smtp_bind_address are read by their suffix, through transportParameter.
        const forms = [name, name.replace(/^(?:default|smtp)_/, "")];
        if (!forms.some((form) => own.has(form) || shared.has(form)))
          wrong.push(`${name}: ${reader}`);
      }
    }
    assert.deepEqual(wrong, []);
  });

  it("names every service that reads a parameter, and commands", () => {
    const text = readFileSync(join(root, "docs/PARAMETERS.md"), "utf8");
    // Commands name parameters in what they print, too.
    const readByCommands = new Set(
      globSync("packages/commands/src/**/*.ts", { cwd: root })
        .map((file) => readFileSync(join(root, file), "utf8"))
        .flatMap((source) => source.match(/(?<=\bparameters\.)\w+/g) ?? []),
    );
    const missing: string[] = [];
    for (const section of text.split(/^## /m).slice(1)) {
      const name = section.slice(0, section.indexOf("\n"));
      const readers = (/^- Read by: (.*)$/m.exec(section)?.[1] ?? "").split(", ");
      for (const folder of globSync("services/*/src", { cwd: root })) {
        const service = folder.split("/")[1] ?? "";
        if (sourceOf(folder).has(name) && !readers.includes(service)) {
          missing.push(`${name}: ${service}`);
        }
      }
      const isNamed = readers.includes("commands") || readers.includes("start");
      if (!isNamed && readByCommands.has(name)) missing.push(`${name}: commands`);
    }
    assert.deepEqual(missing, []);
  });

  const wordsByFolder = new Map<string, ReadonlySet<string>>();

  /** Every word with an underscore in the code of a folder, comments left out. */
  function sourceOf(folder: string): ReadonlySet<string> {
    const known = wordsByFolder.get(folder);
    if (known !== undefined) return known;
    const text = globSync(`${folder}/**/*.ts`, { cwd: root })
      .filter((file) => !file.includes(".test"))
      .map((file) => readFileSync(join(root, file), "utf8"))
      .join("\n")
      .replaceAll(/\/\*[\s\S]*?\*\/|^\s*\/\/.*$/gm, "");
    const words = new Set(text.match(/\b[a-zA-Z0-9]+(?:_[a-zA-Z0-9]+)*\b/g));
    wordsByFolder.set(folder, words);
    return words;
  }
});
