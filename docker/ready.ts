/** Health check of a container: exits 0 when the service in it answers /readyz with 200. */
const response = await fetch("http://127.0.0.1:9154/readyz", {
  signal: AbortSignal.timeout(4_000),
});
if (!response.ok) {
  console.error(await response.text());
  process.exitCode = 1;
}
