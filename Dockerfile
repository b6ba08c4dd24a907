# One image for every service and command of postmq: the command says which.
#
#   docker build -t postmq .
#   docker run postmq node services/smtpd/src/main.ts
#
# There is no build step: Node runs the sources. The first stage only fetches the packages they need.

FROM node:26.10.0-bookworm-slim AS packages
WORKDIR /app
COPY package.json package-lock.json .npmrc ./
COPY packages packages
COPY services services
# The image has Node; the npm package that brings it to other machines would be a second one.
RUN npm install --omit=dev --ignore-scripts --no-audit --no-fund --loglevel=error \
  && rm -rf node_modules/node node_modules/node-bin-* node_modules/.bin/node \
  && rm -rf /root/.npm

FROM node:26.10.0-bookworm-slim
LABEL org.opencontainers.image.title="postmq" \
  org.opencontainers.image.description="Postfix's queue architecture on Redis"
WORKDIR /app
COPY --from=packages /app /app
COPY docker/ready.ts docker/make-token.ts docker/
ENV NODE_ENV=production \
  PATH="/app/node_modules/.bin:${PATH}" \
  # In a container each process has an address of its own, so all use the same ports.
  POSTMQ_SMTPD_LISTEN=0.0.0.0:2525 \
  POSTMQ_PICKUP_LISTEN=0.0.0.0:8025 \
  POSTMQ_SHOWQ_LISTEN=0.0.0.0:8080 \
  POSTMQ_METRICS_LISTEN=0.0.0.0:9154 \
  # A file left in a container is lost with it: nothing is kept but in Redis, and without it sendmail exits 75.
  POSTMQ_DATA_DIRECTORY= \
  POSTMQ_DROP_DIRECTORY=
USER node
EXPOSE 2525 8025 8080 9154
HEALTHCHECK --interval=10s --timeout=5s --start-period=30s CMD ["node", "docker/ready.ts"]
CMD ["postmq", "--help"]
