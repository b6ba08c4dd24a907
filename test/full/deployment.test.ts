/** docker-compose and kubectl judge our files for them. Both are peers: `scripts/setup --peers` installs them. */
import assert from "node:assert/strict";
import { execFileSync } from "node:child_process";
import { readdirSync } from "node:fs";
import { join } from "node:path";
import { describe, it } from "node:test";

const checkout = join(import.meta.dirname, "../..");

/** @throws with what the tool wrote when it fails or is not there. */
function run(command: string, args: readonly string[]): string {
  return execFileSync(command, args, { cwd: checkout, encoding: "utf8", timeout: 60_000 });
}

describe("docker-compose", () => {
  it("accepts docker-compose.yml", () => {
    run("docker-compose", ["config", "-q"]);
  });

  it("sees Redis and every service in it", () => {
    const listed = run("docker-compose", ["config", "--services"]).trim().split("\n");
    const services = readdirSync(join(checkout, "services"));
    assert.deepEqual(listed.toSorted(), [...services, "redis"].toSorted());
  });
});

describe("kubectl kustomize", () => {
  const objects = () => run("kubectl", ["kustomize", "k8s/base"]).split("\n---\n");
  const deployments = () => objects().filter((object) => /^kind: Deployment$/m.test(object));

  it("builds k8s/base, a Deployment per service", () => {
    assert.equal(deployments().length, readdirSync(join(checkout, "services")).length);
  });

  it("gives every service both probes, and no right that it does not need", () => {
    for (const deployment of deployments()) {
      assert.match(deployment, /livenessProbe:\n(?: {10}.*\n)*? {12}path: \/livez\n/);
      assert.match(deployment, /readinessProbe:\n(?: {10}.*\n)*? {12}path: \/readyz\n/);
      assert.match(deployment, /runAsNonRoot: true/);
      assert.match(deployment, /readOnlyRootFilesystem: true/);
      assert.match(deployment, /allowPrivilegeEscalation: false/);
      assert.match(deployment, /drop:\n +- ALL\n/);
      assert.match(deployment, /automountServiceAccountToken: false/);
    }
  });
});
