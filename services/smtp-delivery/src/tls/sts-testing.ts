/** An MTA-STS policy in mode testing: mail goes as it would without, and what enforcing would refuse is logged. */
import type { TlsPolicy } from "./tls-policy.ts";

export function reportOnly(
  actual: TlsPolicy,
  enforced: TlsPolicy,
  report: { readonly domain: string; readonly onInfo: (text: string) => void },
): TlsPolicy {
  const say = (mxHost: string, problem: string) =>
    report.onInfo(`MTA-STS policy of ${report.domain} (testing): ${mxHost}: ${problem}`);
  return {
    level: actual.level,
    startsWithTls: actual.startsWithTls,
    mayReuse: actual.mayReuse,
    key: actual.key,
    allowsHost: (mxHost) => {
      if (!enforced.allowsHost(mxHost)) say(mxHost, "not a host of the policy");
      return true;
    },
    // Asked for by name, since that is what would be judged.
    connectOptions: (mxHost) => ({
      ...enforced.connectOptions(mxHost),
      ...actual.connectOptions(mxHost),
    }),
    judge: (socket, mxHost) => {
      const strict = enforced.judge(socket, mxHost);
      if (strict.kind === "refused") say(mxHost, strict.detail);
      return actual.judge(socket, mxHost);
    },
  };
}
