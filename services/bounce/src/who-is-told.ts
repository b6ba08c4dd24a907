/**
 * Which notices an event owes: to the sender, to the postmaster, to both or to nobody.
 *
 * There are at most three generations: mail; the report of its failure, from the null sender; and the report of that
 * one's failure, from double-bounce, whose own failure is told to nobody. Each generation looks at the sender of what
 * failed and at nothing else, so no chain can be longer.
 *
 * Source: spec D28 to D33; delivery.md §9; RFC 3461 §4.1 (NOTIFY), §6; RFC 5321 §4.5.5 (null reverse-path); RFC 8689
 * §5 (REQUIRETLS); Postfix src/bounce/bounce_notify_service.c, bounce_notify_verp.c,
 * bounce_warn_service.c, bounce_trace_service.c.
 */
import { addressDomain, verpSender } from "@postmq/mail-format";
import type { OpenedReport, ReportKind } from "@postmq/queue-store";
import { verpDelimitersOf } from "@postmq/vocabulary";
import type { Envelope, Recipient, StoredRecipient } from "@postmq/vocabulary";

export type Notice = {
  /** The postmaster's has no words of introduction, and a subject of its own. */
  readonly to: "sender" | "postmaster";
  readonly kind: ReportKind;
  /** Envelope sender of the notice: the null address, or double-bounce. */
  readonly from: string;
  readonly recipient: string;
  readonly about: readonly StoredRecipient[];
  /** What goes back of the original; bounce_size_limit may make less of it (D32). */
  readonly content: "whole" | "headers";
};

export type NoticePolicy = {
  readonly myorigin: string;
  /** Local part: double_bounce_sender. */
  readonly doubleBounceSender: string;
  /** notify_classes, in lower case. */
  readonly notifyClasses: ReadonlySet<string>;
  readonly bounceNoticeRecipient: string;
  readonly doubleBounceNoticeRecipient: string;
  readonly delayNoticeRecipient: string;
  /** Not disable_verp_bounces. */
  readonly hasVerpReports: boolean;
};

export type OwedNotices = {
  readonly notices: readonly Notice[];
  /** Why nobody is told, when there is no notice; loud: mail is lost by it. */
  readonly whyNobody?: { readonly text: string; readonly isLoud: boolean };
};

type Event = Pick<OpenedReport, "kind" | "envelope" | "recipients">;

/** The notices, the sender's first. */
export function owedNotices(event: Event, policy: NoticePolicy): OwedNotices {
  switch (senderClass(event.envelope.sender, policy)) {
    case "double-bounce":
      return isFailure(event.kind)
        ? nobody("undeliverable postmaster notification discarded", true)
        : nobody("it is a notice to the postmaster itself", false);
    case "null":
      return ofNullSender(event, policy);
    case "other":
      return ofSender(event, policy);
  }
}

/**
 * Whether the sender is told of this recipient. Without NOTIFY failures and delays are; with it, what is among its
 * words. A success is owed or not before it comes here (state `sent`); NEVER is never.
 */
export function wantsReport(recipient: Pick<Recipient, "notify">, kind: ReportKind): boolean {
  const { notify } = recipient;
  if (notify === undefined || notify.length === 0) return true;
  if (kind === "success") return !notify.includes("NEVER");
  return notify.includes(kind === "delay" ? "DELAY" : "FAILURE");
}

/** MAILER-DAEMON at myorigin counts as the null address (D29). */
function senderClass(sender: string, policy: NoticePolicy): "null" | "double-bounce" | "other" {
  const address = sender.toLowerCase();
  const origin = policy.myorigin.toLowerCase();
  const isLocal = (localPart: string) =>
    address === localPart || address === `${localPart}@${origin}`;
  if (address === "" || isLocal("mailer-daemon")) return "null";
  return isLocal(policy.doubleBounceSender.toLowerCase()) ? "double-bounce" : "other";
}

function ofSender(event: Event, policy: NoticePolicy): OwedNotices {
  const { envelope, recipients } = event;
  const delimiters = policy.hasVerpReports ? verpDelimitersOf(envelope) : undefined;
  const notices =
    delimiters === undefined || !isFailure(event.kind)
      ? withCopy(event, envelope.sender, policy)
      : recipients.flatMap((each) =>
          withCopy(
            { ...event, recipients: [each] },
            verpAddress(each, envelope, delimiters),
            policy,
          ),
        );
  return notices.length === 0 ? nobody("nobody asked to be told (NOTIFY)", false) : { notices };
}

/** D33: one report for each recipient, and a copy for each. Delays and successes are told to the sender as it is. */
function verpAddress(recipient: Recipient, { sender }: Envelope, delimiters: string): string {
  return verpSender(delimiters, sender, recipient.original ?? recipient.address);
}

function isFailure(kind: ReportKind): boolean {
  return kind === "failure" || kind === "expired";
}

function withCopy(event: Event, recipient: string, policy: NoticePolicy): readonly Notice[] {
  const { kind, envelope } = event;
  const about = event.recipients.filter((each) => wantsReport(each, kind));
  const report: Notice = {
    to: "sender",
    kind,
    from: "",
    recipient,
    about,
    content: isFailure(kind) && envelope.ret !== "HDRS" ? wholeUnlessPrivate(envelope) : "headers",
  };
  const copyTo = copyRecipient(kind, policy);
  return [
    ...(about.length === 0 ? [] : [report]),
    ...(copyTo === undefined ? [] : [toPostmaster(event, policy, copyTo, "headers")]),
  ];
}

/** Who gets a copy of what the sender is told. */
function copyRecipient(kind: ReportKind, policy: NoticePolicy): string | undefined {
  switch (kind) {
    case "failure":
    case "expired":
      return policy.notifyClasses.has("bounce") ? policy.bounceNoticeRecipient : undefined;
    case "delay":
      return policy.notifyClasses.has("delay") ? policy.delayNoticeRecipient : undefined;
    case "success":
      return undefined;
  }
}

/** The null sender is never answered: its mail is a report itself, and reports about reports have no end. */
function ofNullSender(event: Event, policy: NoticePolicy): OwedNotices {
  const { notifyClasses: classes } = policy;
  const whyNobody = "its sender is the null address";
  const whole = wholeUnlessPrivate(event.envelope);
  switch (event.kind) {
    case "failure":
    case "expired":
      return classes.has("2bounce") || classes.has("bounce")
        ? { notices: [toPostmaster(event, policy, policy.doubleBounceNoticeRecipient, whole)] }
        : nobody(whyNobody, false);
    case "delay":
      return classes.has("delay")
        ? { notices: [toPostmaster(event, policy, policy.delayNoticeRecipient, whole)] }
        : nobody(whyNobody, false);
    case "success": {
      if (!classes.has("2bounce")) return nobody(whyNobody, false);
      const notice = toPostmaster(event, policy, policy.doubleBounceNoticeRecipient, "headers");
      return { notices: [{ ...notice, to: "sender" }] };
    }
  }
}

/** The notice may travel without TLS, so a message that may not goes back as its headers. Source: RFC 8689 §5. */
function wholeUnlessPrivate({ requireTls }: Envelope): Notice["content"] {
  return requireTls === true ? "headers" : "whole";
}

/** Of all recipients: what a sender wants to know (NOTIFY) is not the postmaster's business. */
function toPostmaster(
  event: Event,
  policy: NoticePolicy,
  recipient: string,
  content: Notice["content"],
): Notice {
  return {
    to: "postmaster",
    kind: event.kind,
    from: completed(policy.doubleBounceSender, policy),
    recipient: completed(recipient, policy),
    about: event.recipients,
    content,
  };
}

function completed(address: string, { myorigin }: NoticePolicy): string {
  return addressDomain(address) === undefined ? `${address}@${myorigin}` : address;
}

function nobody(text: string, isLoud: boolean): OwedNotices {
  return { notices: [], whyNobody: { text, isLoud } };
}
