/**
 * The layers of STYLE §1, held against every import in the sources.
 *
 * A lower layer never imports a higher one; a package imports only what its package.json declares; services meet
 * through the queues only. Imports are found in the text, in `from "…"` and `import("…")`, types included.
 */
import assert from "node:assert/strict";
import { existsSync, globSync, readFileSync } from "node:fs";
import { basename, dirname, join, relative, resolve } from "node:path";
import { isBuiltin } from "node:module";
import { describe, it } from "node:test";
import { queueMoves } from "@postmq/vocabulary";

const checkout = join(import.meta.dirname, "..");

/** A package imports packages of lower layers, and of its own where the lists say so in package.json. */
const layers: readonly (readonly string[])[] = [
  ["vocabulary"],
  ["config", "mail-format", "tables"],
  ["dns", "queue-store", "observability", "drop-directory"],
  ["rewriting", "routing", "service-kit", "queue-admin"],
  ["commands"],
];
const services = ["pickup", "smtpd", "cleanup", "qmgr", "smtp-delivery", "bounce", "showq"];

/** The one package that knows each of these. Source: STYLE §1. */
const onlyUsers: Readonly<Record<string, string>> = {
  bullmq: "queue-store",
  ioredis: "queue-store",
  "prom-client": "observability",
  pino: "observability",
};

/** Who reads the environment, and why that is not `config`. */
const readsEnvironment: Readonly<Record<string, string>> = {
  "packages/config/src/environment.ts": "it is the reader",
  "packages/commands/src/main.ts": "passes it to commands, which hand it to config",
  "packages/commands/src/run-command.ts": "does not: its `process` is a parameter",
};

type Imported = { readonly name: string; readonly isType: boolean };
type Source = {
  readonly file: string;
  /** Folder name of the package or service. */
  readonly owner: string;
  readonly isService: boolean;
  /** A test, or something only tests import or run. */
  readonly isTest: boolean;
  readonly text: string;
  readonly imports: readonly Imported[];
};

const sources = globSync("{packages,services}/*/src/**/*.ts", { cwd: checkout }).map(readSource);
const products = sources.filter(({ isTest, owner }) => !isTest && owner !== "testing");

function readSource(file: string): Source {
  const text = readFileSync(join(checkout, file), "utf8");
  const [kind = "", owner = ""] = file.split("/");
  return {
    file,
    owner,
    isService: kind === "services",
    isTest: /\.test(-support)?\.ts$/.test(file),
    text,
    imports: importsOf(text),
  };
}

function importsOf(text: string): readonly Imported[] {
  const code = withoutComments(text);
  const statements = code.matchAll(/^(?:import|export)\s(type\s)?[^;]*?from\s+"([^"]+)"/gm);
  const bare = code.matchAll(/^import\s+"([^"]+)"/gm);
  const dynamic = code.matchAll(/\bimport\("([^"]+)"\)/g);
  return [
    ...[...statements].map(([, type, name = ""]) => ({ name, isType: type !== undefined })),
    ...[...bare, ...dynamic].map(([, name = ""]) => ({ name, isType: false })),
  ];
}

function withoutComments(text: string): string {
  return text.replaceAll(/^\s*(?:\/\*\*?[\s\S]*?\*\/|\/\/.*)$/gm, "");
}

/** The npm package of an import: `@postmq/config`, `nodemailer` of `nodemailer/lib/x`. */
function packageOf(name: string): string {
  return name
    .split("/")
    .slice(0, name.startsWith("@") ? 2 : 1)
    .join("/");
}

function isOfPackages({ name }: Imported): boolean {
  return !name.startsWith(".") && !isBuiltin(name);
}

function layerOf(owner: string): number {
  return services.includes(owner)
    ? layers.length
    : layers.findIndex((layer) => layer.includes(owner));
}

/** "file: what" for each offending import, so that a failure names them all. */
function offences(
  among: readonly Source[],
  isOffence: (source: Source, imported: Imported) => boolean,
): readonly string[] {
  return among.flatMap((source) =>
    source.imports
      .filter((imported) => isOffence(source, imported))
      .map(({ name }) => `${source.file}: ${name}`),
  );
}

describe("layers", () => {
  it("have a place for every package and service", () => {
    const named = [...layers.flat(), "testing"].map((name) => `packages/${name}`);
    const folders = globSync("{packages,services}/*/package.json", { cwd: checkout }).map(dirname);
    assert.deepEqual(
      folders.toSorted(),
      [...named, ...services.map((name) => `services/${name}`)].toSorted(),
    );
  });

  it("are never left upwards", () => {
    const found = offences(products, ({ owner }, { name }) => {
      if (!name.startsWith("@postmq/")) return false;
      const imported = name.slice("@postmq/".length);
      return layerOf(imported) < 0 || layerOf(imported) > layerOf(owner);
    });
    assert.deepEqual(found, []);
  });

  it("let no service import another", () => {
    const found = offences(products, (_source, { name }) =>
      services.some((service) => packageOf(name) === `@postmq/${service}`),
    );
    assert.deepEqual(found, []);
  });

  it("show only what index.ts exports, and stay in their own folder otherwise", () => {
    const found = offences(sources, ({ file, owner }, { name }) => {
      if (name.startsWith("@postmq/")) return name !== packageOf(name);
      if (!name.startsWith(".")) return false;
      const target = relative(checkout, resolve(checkout, dirname(file), name));
      return target.split("/")[1] !== owner;
    });
    assert.deepEqual(found, []);
  });

  it("use `testing` in tests alone", () => {
    const found = offences(products, (_source, { name }) => name === "@postmq/testing");
    assert.deepEqual(found, []);
  });
});

describe("imports", () => {
  it("are of declared dependencies", () => {
    const found = offences(products, ({ file }, imported) => {
      if (!isOfPackages(imported)) return false;
      const folder = file.split("/").slice(0, 2).join("/");
      return !declaredIn(folder).has(packageOf(imported.name));
    });
    assert.deepEqual(found, []);
  });

  it("name files with their ending, as Node runs them", () => {
    const found = offences(
      sources,
      ({ file }, { name }) =>
        name.startsWith(".") && !existsSync(join(checkout, dirname(file), name)),
    );
    assert.deepEqual(found, []);
  });

  it("of bullmq, ioredis, prom-client and pino are in one package each", () => {
    const found = offences(products, ({ owner }, { name }) => {
      const user = onlyUsers[packageOf(name)];
      return user !== undefined && user !== owner;
    });
    assert.deepEqual(found, []);
  });
});

function declaredIn(folder: string): ReadonlySet<string> {
  const { dependencies = {} } = JSON.parse(
    readFileSync(join(checkout, folder, "package.json"), "utf8"),
  );
  return new Set(Object.keys(dependencies));
}

describe("sources", () => {
  it("read the environment in config alone, exceptions with a reason aside", () => {
    const readers = products
      .filter(({ text }) => /\bprocess\.env\b/.test(withoutComments(text)))
      .map(({ file }) => file);
    assert.deepEqual(readers.toSorted(), Object.keys(readsEnvironment).toSorted());
  });

  it("write to standard output in observability and commands alone", () => {
    const writers = products
      .filter(({ owner }) => owner !== "observability" && owner !== "commands")
      .filter(({ text }) => /\bprocess\.stdout\b|\bconsole\.\w+\(/.test(withoutComments(text)))
      .map(({ file }) => file);
    assert.deepEqual(writers, []);
  });

  it("keep each index.ts a list of exports", () => {
    const others = products
      .filter(({ file }) => basename(file) === "index.ts")
      .flatMap(({ file, text }) => {
        const rest = withoutComments(text).replaceAll(
          /export (?:type )?\{[^}]*\} from "\.\/[^"]+";/g,
          "",
        );
        return rest.trim() === "" ? [] : [`${file}: ${rest.trim()}`];
      });
    assert.deepEqual(others, []);
  });

  it("keep each service's main.ts under 60 lines", () => {
    const long = products
      .filter(({ file, isService }) => isService && basename(file) === "main.ts")
      .filter(({ text }) => text.split("\n").length > 60)
      .map(({ file }) => file);
    assert.deepEqual(long, []);
  });

  it("have names that say what they are about", () => {
    const vague = products
      .filter(({ file }) =>
        /^(utils?|common|misc|types|constants|helpers?)\.ts$/.test(basename(file)),
      )
      .map(({ file }) => file);
    assert.deepEqual(vague, []);
  });
});

describe("the legal queue moves", () => {
  it("are each made by a script of queue-store", () => {
    const missing = queueMoves
      .map(({ script }) => `packages/queue-store/lua/${script}.lua`)
      .filter((file) => !existsSync(join(checkout, file)));
    assert.deepEqual([...new Set(missing)], []);
  });
});

describe("every package and service", () => {
  it("has a README of one screen", () => {
    const folders = globSync("{packages,services}/*/package.json", { cwd: checkout }).map(dirname);
    const without = folders.filter((folder) => !existsSync(join(checkout, folder, "README.md")));
    assert.deepEqual(without.toSorted(), []);
  });
});
