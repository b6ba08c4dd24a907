/** Builds pickup from the parameters: the HTTP API and the drop directory. Source: DESIGN §2 "pickup". */
import { openHttpServer } from "@postmq/service-kit";
import type { HttpServer, Service, ServiceContext } from "@postmq/service-kit";
import type { Intake } from "@postmq/queue-store";

import { DropWatch } from "./drop-watch.ts";
import { submissionRoutes } from "./submission-routes.ts";

/** What a JSON body may have beside the base64 of its largest message. */
const bodySlackBytes = 4 * 1024 * 1024;
const unlimitedBodyBytes = 1024 * 1024 * 1024;

export async function startPickup(context: ServiceContext): Promise<Service> {
  const { parameters, store, log, metrics } = context;
  const intake = store.intake();
  const taken = metrics.counter(
    "postmq_pickup_messages_total",
    "Messages taken in, by the way they came: http, drop (the drop directory).",
    ["source"],
  );
  const maxBytes = parameters.message_size_limit;
  const watch =
    parameters.drop_directory === ""
      ? undefined
      : new DropWatch({
          directory: parameters.drop_directory,
          intake,
          log,
          clock: store.clock,
          maxBytes,
          onTaken: () => taken.increment({ source: "drop" }),
        });
  const server = await openSubmission(context, intake, () => taken.increment({ source: "http" }));
  watch?.start();
  return {
    listeners: server === undefined ? [] : [{ name: "http", address: server.address }],
    notReady: () => {
      const refusal = intake.refusal();
      return refusal === undefined ? undefined : `no mail can be taken in: ${refusal}`;
    },
    drain: async () => {
      await Promise.all([server?.close(), watch?.stop()]);
    },
  };
}

/** @returns undefined when pickup_listen is empty */
async function openSubmission(
  { parameters, store, log }: ServiceContext,
  intake: Intake,
  onTaken: () => void,
): Promise<HttpServer | undefined> {
  if (parameters.pickup_listen === "") return undefined;
  const maxBytes = parameters.message_size_limit;
  return await openHttpServer({
    listen: parameters.pickup_listen,
    listenParameter: "pickup_listen",
    tokensFile: parameters.api_tokens,
    log,
    bodyLimitBytes:
      maxBytes === 0 ? unlimitedBodyBytes : Math.ceil(maxBytes * 1.5) + bodySlackBytes,
    routes: (app, needs) =>
      submissionRoutes(app, needs, {
        intake,
        log,
        maxBytes,
        rules: {
          maxRecipients: parameters.submission_recipient_limit,
          verp: {
            delimiters: parameters.default_verp_delimiters,
            allowed: parameters.verp_delimiter_filter,
          },
        },
        myhostname: parameters.myhostname,
        hasTokens: parameters.api_tokens !== "",
        nowMs: () => store.clock.nowMs(),
        onTaken,
      }),
  });
}
