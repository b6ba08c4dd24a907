/**
 * What a service is started with: the supervisor's own environment, and what this start decided.
 */

/**
 * The environment with settings of ours in it, in place of any `_FILE` form of the same names: a parameter that is
 * set in both ways is refused (DESIGN §7).
 */
export function withSettings(
  env: NodeJS.ProcessEnv,
  settings: Readonly<Record<string, string>>,
): NodeJS.ProcessEnv {
  const replaced = new Set(Object.keys(settings).map((name) => `${name}_FILE`));
  const kept = Object.entries(env).filter(([name]) => !replaced.has(name));
  return { ...Object.fromEntries(kept), ...settings };
}
