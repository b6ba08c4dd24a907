export { describeParameters } from "./describe-parameters.ts";
export { environmentName, processEnvironment } from "./environment.ts";
export type { Environment } from "./environment.ts";
export { expand } from "./expand.ts";
export {
  loadParameters,
  mainCfPath,
  parseTransports,
  readSettings,
  transportParameter,
} from "./load-parameters.ts";
export type {
  Parameters,
  ParameterSource,
  Setting,
  Settings,
  TransportKind,
} from "./load-parameters.ts";
export { BadValue, splitList } from "./parameter-kinds.ts";
export type {
  ConcurrencyFeedback,
  ParameterKind,
  ParameterReader,
  ParameterRow,
} from "./parameter-kinds.ts";
export { editMainCf } from "./edit-main-cf.ts";
export type { MainCfEdit } from "./edit-main-cf.ts";
export { parameterTable } from "./parameters.ts";
export type { ParameterName } from "./parameters.ts";
export { showParameters } from "./shown-parameters.ts";
export type { ShownParameters } from "./shown-parameters.ts";
export type {
  TransportOverrides,
  TransportSuffix,
  TransportValue,
} from "./transport-parameters.ts";
