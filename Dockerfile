# syntax=docker/dockerfile:1
FROM golang:1.26-bookworm AS build
WORKDIR /src
COPY go.mod go.sum ./
RUN go mod download && go mod verify
COPY . .
RUN CGO_ENABLED=0 go build -trimpath -ldflags '-s -w' -tags timetzdata -o /out/mdebot ./cmd/mdebot \
 && mkdir -p /out/data \
 && cp /etc/ssl/certs/ca-certificates.crt /out/ca-certificates.crt

# Nothing but the binary, the CA roots and an empty data directory. Time zones
# are inside the binary. Run with a read-only root; only /data is written.
FROM scratch
COPY --from=build /out/mdebot /mdebot
COPY --from=build /out/ca-certificates.crt /etc/ssl/certs/ca-certificates.crt
COPY --from=build --chown=65532:65532 --chmod=0700 /out/data /data
USER 65532:65532
ENV MDEBOT_DATABASE_URL=sqlite:/data/mdebot.db
VOLUME /data
EXPOSE 8080
HEALTHCHECK --interval=15s --timeout=5s --start-period=10s CMD ["/mdebot", "healthcheck"]
ENTRYPOINT ["/mdebot"]
CMD ["serve"]
