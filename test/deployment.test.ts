/**
 * What the image, the compose file and the Kubernetes files say is held against what the services are and read.
 *
 * They are read as text here; test/full/deployment.test.ts lets docker-compose and kubectl judge them.
 */
import assert from "node:assert/strict";
import { globSync, readdirSync, readFileSync } from "node:fs";
import { join } from "node:path";
import { describe, it } from "node:test";
import { environmentName, parameterTable } from "@postmq/config";

const checkout = join(import.meta.dirname, "..");
const compose = read("docker-compose.yml");
const kubernetesFiles = globSync("k8s/**/*.yaml", { cwd: checkout });
const kubernetes = kubernetesFiles.map(read).join("\n---\n");
const dockerfile = read("Dockerfile");

function read(name: string): string {
  return readFileSync(join(checkout, name), "utf8");
}

function startedServices(text: string): readonly string[] {
  const found = text.matchAll(/node, services\/([a-z-]+)\/src\/main\.ts/g);
  return [...found].map(([, service = ""]) => service).toSorted();
}

/** Names of POSTMQ_ variables in settings, without comments. */
function variables(text: string): readonly string[] {
  const settings = text.replaceAll(/^\s*#.*$/gm, "");
  return [...new Set(settings.match(/\bPOSTMQ_[A-Z0-9_]+\b/g))].toSorted();
}

const services = readdirSync(join(checkout, "services")).toSorted();

describe("docker-compose.yml", () => {
  it("runs every service, each once", () => {
    assert.deepEqual(startedServices(compose), services);
  });

  it("publishes no port of Redis, and nothing beyond this machine", () => {
    const published = [...compose.matchAll(/"([\d.:]*):(\d+)"\]/g)].map(([whole]) => whole);
    assert.equal(published.length, 3);
    for (const port of published) assert.match(port, /^"127\.0\.0\.1:/);
    assert.doesNotMatch(compose, /:6379"/);
  });

  it("lets smtp-delivery be scaled: it has no name and no port of its own", () => {
    assert.doesNotMatch(compose, /container_name/);
    const [block = ""] = /^ {2}smtp-delivery:\n(?: {4}.*\n)+/m.exec(compose) ?? [];
    assert.match(block, /services\/smtp-delivery/);
    assert.doesNotMatch(block, /ports:/);
  });
});

describe("k8s/base", () => {
  it("runs every service, each in one Deployment", () => {
    assert.deepEqual(startedServices(kubernetes), services);
  });

  it("lists every file in its kustomization, and no other", () => {
    const kustomization = read("k8s/base/kustomization.yaml");
    const listed = [...kustomization.matchAll(/^ {2}- (?:path: )?([a-z-]+\.yaml)$/gm)].map(
      ([, name]) => name,
    );
    const files = readdirSync(join(checkout, "k8s/base")).filter((name) => name.endsWith(".yaml"));
    assert.deepEqual(
      listed.toSorted(),
      files.filter((name) => name !== "kustomization.yaml").toSorted(),
    );
  });

  it("lets every service reach Redis, and no others", () => {
    const policies = read("k8s/base/network-policies.yaml").split("\n---\n");
    const named = (policies[0] ?? "").matchAll(/^ +- postmq-([a-z-]+)$/gm);
    assert.deepEqual([...named].map(([, service]) => service).toSorted(), services);
  });

  it("configures Redis as docker-compose does", () => {
    assert.equal(read("k8s/base/redis.conf"), read("docker/redis.conf"));
  });

  it("runs one Redis everywhere, that which restores a backup included", () => {
    const images = [compose, kubernetes].flatMap((text) => text.match(/image: redis:\S+/g) ?? []);
    assert.equal(images.length, 3);
    assert.equal(new Set(images).size, 1);
  });
});

describe("docker/redis.conf", () => {
  it("P1 writes to disk before it answers, and P9 never evicts", () => {
    const settings = read("docker/redis.conf").split("\n");
    for (const line of ["appendonly yes", "appendfsync always", "maxmemory-policy noeviction"]) {
      assert.ok(settings.includes(line), line);
    }
  });
});

describe("parameters in deployment files", () => {
  it("exist in the parameter table", () => {
    const known = new Set(
      Object.keys(parameterTable).flatMap((name) => [
        environmentName(name),
        `${environmentName(name)}_FILE`,
      ]),
    );
    const used = [compose, kubernetes, dockerfile].flatMap(variables);
    assert.ok(used.length > 10);
    assert.deepEqual(
      used.filter((name) => !known.has(name)),
      [],
    );
  });

  it("make every listener reachable in the image, on the ports that it exposes", () => {
    const listeners = Object.keys(parameterTable).filter((name) => name.endsWith("_listen"));
    const ports = listeners.map((name) => {
      const setting = new RegExp(`${environmentName(name)}=0\\.0\\.0\\.0:(\\d+)`).exec(dockerfile);
      return setting?.[1] ?? `${name} is not set`;
    });
    const exposed = /^EXPOSE (.*)$/m.exec(dockerfile)?.[1]?.split(" ") ?? [];
    assert.deepEqual(ports.toSorted(), exposed.toSorted());
  });
});
