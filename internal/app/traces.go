package app

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"net/url"
	"strconv"
	"strings"
	"time"

	"go.opentelemetry.io/otel/attribute"
	"go.opentelemetry.io/otel/codes"
	"go.opentelemetry.io/otel/sdk/resource"
	sdktrace "go.opentelemetry.io/otel/sdk/trace"
	"go.opentelemetry.io/otel/trace"

	"github.com/mdebot/mdebot/internal/chat"
	"github.com/mdebot/mdebot/internal/durable"
)

// traces are spans of deliveries, commands, outbound calls and jobs, sent to an
// OpenTelemetry collector when one is configured. A nil *traces costs nothing.
//
// Attributes come from closed lists of this program, like the labels of metrics:
// no names, IDs, reasons, addresses or errors.
type traces struct {
	provider *sdktrace.TracerProvider
	tracer   trace.Tracer
}

// TraceConfig says where spans go.
type TraceConfig struct {
	Endpoint string `env:"OTEL_EXPORTER_OTLP_ENDPOINT"`
	Headers  string `env:"OTEL_EXPORTER_OTLP_HEADERS"`
	Service  string `env:"OTEL_SERVICE_NAME, default=mdebot"`
}

// Validate reports every fault.
func (c TraceConfig) Validate() error {
	_, err := c.url()
	_, headers := c.headers()
	return errors.Join(err, headers)
}

func (c TraceConfig) url() (string, error) {
	if c.Endpoint == "" {
		return "", nil
	}
	u, err := url.Parse(c.Endpoint)
	if err != nil || u.Host == "" || u.Scheme != "http" && u.Scheme != "https" {
		return "", errors.New("OTEL_EXPORTER_OTLP_ENDPOINT: write the address of a collector that takes OTLP over HTTP, such as http://127.0.0.1:4318")
	}
	return strings.TrimSuffix(u.String(), "/") + "/v1/traces", nil
}

// headers reads "name=value,name=value" with values as in a URL.
func (c TraceConfig) headers() (http.Header, error) {
	all := http.Header{}
	for pair := range strings.SplitSeq(c.Headers, ",") {
		if strings.TrimSpace(pair) == "" {
			continue
		}
		name, value, ok := strings.Cut(pair, "=")
		decoded, err := url.PathUnescape(strings.TrimSpace(value))
		if !ok || err != nil {
			return nil, errors.New("OTEL_EXPORTER_OTLP_HEADERS: write name=value, with commas between")
		}
		all.Set(strings.TrimSpace(name), decoded)
	}
	return all, nil
}

// newTraces returns nil when no collector is configured.
func newTraces(c TraceConfig, transport http.RoundTripper, logger *slog.Logger) (*traces, error) {
	address, err := c.url()
	if err != nil || address == "" {
		return nil, err
	}
	headers, err := c.headers()
	if err != nil {
		return nil, err
	}
	exporter := &otlp{url: address, headers: headers, log: logger, client: &http.Client{
		Transport: transport, Timeout: exportTimeout,
		CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
	}}
	p := sdktrace.NewTracerProvider(
		sdktrace.WithBatcher(exporter, sdktrace.WithMaxQueueSize(1024), sdktrace.WithMaxExportBatchSize(256)),
		sdktrace.WithResource(resource.NewSchemaless(attribute.String("service.name", c.Service), attribute.String("service.version", Version()))),
	)
	return &traces{provider: p, tracer: p.Tracer("mdebot")}, nil
}

// stop sends what waits. A collector that is away holds nothing up.
func (t *traces) stop(ctx context.Context) {
	if t != nil {
		_ = t.provider.Shutdown(ctx) // what it could not send is lost, as always
	}
}

// delivery traces the deliveries of a platform.
func (t *traces) delivery(platform string, next http.Handler) http.Handler {
	if t == nil {
		return next
	}
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		ctx, span := t.tracer.Start(r.Context(), "delivery", trace.WithSpanKind(trace.SpanKindServer), trace.WithAttributes(attribute.String("platform", platform)))
		defer span.End()
		s := &statusWriter{ResponseWriter: w, status: http.StatusOK}
		next.ServeHTTP(s, r.WithContext(ctx))
		ended(span, s.status)
	})
}

// call traces the calls of a client.
func (t *traces) call(next http.RoundTripper, name func(*http.Request) string) http.RoundTripper {
	if t == nil {
		return next
	}
	return traced{next, t, name}
}

type traced struct {
	next http.RoundTripper
	*traces
	name func(*http.Request) string
}

// RoundTrip implements http.RoundTripper. The request stays as it is: nothing of
// the trace is told to others.
func (c traced) RoundTrip(r *http.Request) (*http.Response, error) {
	_, span := c.tracer.Start(r.Context(), "call", trace.WithSpanKind(trace.SpanKindClient),
		trace.WithAttributes(attribute.String("part", c.name(r)), attribute.String("http.request.method", r.Method)))
	defer span.End()
	resp, err := c.next.RoundTrip(r)
	if err != nil {
		span.SetStatus(codes.Error, "")
		return resp, err
	}
	ended(span, resp.StatusCode)
	return resp, nil
}

func ended(span trace.Span, status int) {
	span.SetAttributes(attribute.Int("http.response.status_code", status))
	if status >= http.StatusInternalServerError {
		span.SetStatus(codes.Error, "")
	}
}

// job traces the runs of a kind of job.
func (t *traces) job(work durable.Worker) durable.Worker {
	if t == nil {
		return work
	}
	return func(ctx context.Context, job durable.Job) error {
		ctx, span := t.tracer.Start(ctx, "job", trace.WithAttributes(attribute.String("kind", job.Kind)))
		defer span.End()
		err := work(ctx, job)
		var snooze *durable.SnoozeError
		if err != nil && !errors.As(err, &snooze) {
			span.SetStatus(codes.Error, "")
		}
		return err
	}
}

// commands traces what h answers at once, and the work behind it.
func (t *traces) commands(h chat.Handler) chat.Handler {
	if t == nil {
		return h
	}
	return tracedHandler{h, t}
}

type tracedHandler struct {
	next chat.Handler
	*traces
}

// Handle implements chat.Handler.
func (h tracedHandler) Handle(ctx context.Context, inv chat.Invocation) chat.Response {
	platform := attribute.String("platform", string(inv.By.Platform))
	ctx, span := h.tracer.Start(ctx, "command.first", trace.WithAttributes(platform))
	defer span.End()
	resp := h.next.Handle(ctx, inv)
	if later := resp.Later; later != nil {
		cause := span.SpanContext()
		resp.Later = func(ctx context.Context, out chat.Replier) {
			ctx, span := h.tracer.Start(trace.ContextWithSpanContext(ctx, cause), "command", trace.WithAttributes(platform))
			defer span.End()
			later(ctx, out)
		}
	}
	return resp
}

// ran names the command of the span in ctx.
func (t *traces) ran(ctx context.Context, command, outcome string) {
	if t == nil {
		return
	}
	span := trace.SpanFromContext(ctx)
	span.SetAttributes(attribute.String("command", command), attribute.String("outcome", outcome))
	if outcome == "failed" {
		span.SetStatus(codes.Error, "")
	}
}

const exportTimeout = 10 * time.Second

// otlp sends spans as OTLP over HTTP in its JSON form. The exporter of the
// OpenTelemetry project does the same and links gRPC for it, which would make the
// program a tenth larger for everybody.
type otlp struct {
	url     string
	headers http.Header
	client  *http.Client
	log     *slog.Logger
}

var _ sdktrace.SpanExporter = (*otlp)(nil)

type (
	otlpRequest struct {
		ResourceSpans []otlpResource `json:"resourceSpans"`
	}
	otlpResource struct {
		Resource   otlpAttributes `json:"resource"`
		ScopeSpans []otlpScope    `json:"scopeSpans"`
	}
	otlpAttributes struct {
		Attributes []otlpAttribute `json:"attributes"`
	}
	otlpScope struct {
		Scope struct {
			Name string `json:"name"`
		} `json:"scope"`
		Spans []otlpSpan `json:"spans"`
	}
	otlpSpan struct {
		TraceID    string          `json:"traceId"`
		SpanID     string          `json:"spanId"`
		Parent     string          `json:"parentSpanId,omitempty"`
		Name       string          `json:"name"`
		Kind       int             `json:"kind"`
		Start      string          `json:"startTimeUnixNano"` // 64-bit numbers are text in JSON
		End        string          `json:"endTimeUnixNano"`
		Attributes []otlpAttribute `json:"attributes,omitempty"`
		Status     otlpStatus      `json:"status"`
	}
	otlpStatus struct {
		Code int `json:"code,omitempty"`
	}
	otlpAttribute struct {
		Key   string    `json:"key"`
		Value otlpValue `json:"value"`
	}
	otlpValue struct {
		String *string `json:"stringValue,omitempty"`
		Int    *string `json:"intValue,omitempty"`
	}
)

func otlpAttributesOf(all []attribute.KeyValue) []otlpAttribute {
	var out []otlpAttribute
	for _, kv := range all {
		text := kv.Value.String()
		v := otlpValue{String: &text}
		if kv.Value.Type() == attribute.INT64 {
			v = otlpValue{Int: &text}
		}
		out = append(out, otlpAttribute{Key: string(kv.Key), Value: v})
	}
	return out
}

// ExportSpans implements sdktrace.SpanExporter.
func (o *otlp) ExportSpans(ctx context.Context, spans []sdktrace.ReadOnlySpan) error {
	if len(spans) == 0 {
		return nil
	}
	scope := otlpScope{}
	scope.Scope.Name = "mdebot"
	for _, s := range spans {
		one := otlpSpan{
			TraceID: s.SpanContext().TraceID().String(), SpanID: s.SpanContext().SpanID().String(), Name: s.Name(), Kind: int(s.SpanKind()),
			Start: strconv.FormatInt(s.StartTime().UnixNano(), 10), End: strconv.FormatInt(s.EndTime().UnixNano(), 10),
			Attributes: otlpAttributesOf(s.Attributes()),
		}
		if s.Parent().HasSpanID() {
			one.Parent = s.Parent().SpanID().String()
		}
		if s.Status().Code == codes.Error {
			one.Status.Code = 2
		}
		scope.Spans = append(scope.Spans, one)
	}
	body, err := json.Marshal(otlpRequest{ResourceSpans: []otlpResource{{
		Resource: otlpAttributes{otlpAttributesOf(spans[0].Resource().Attributes())}, ScopeSpans: []otlpScope{scope},
	}}})
	if err != nil {
		return err
	}
	if err := o.post(ctx, body); err != nil {
		o.log.WarnContext(ctx, "traces not sent; they are dropped", "spans", len(spans), "error", err)
	}
	return nil // told already, and there is nothing to do about it
}

func (o *otlp) post(ctx context.Context, body []byte) error {
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, o.url, bytes.NewReader(body))
	if err != nil {
		return errors.New("the address is not valid")
	}
	for name, values := range o.headers {
		req.Header[name] = values
	}
	req.Header.Set("Content-Type", "application/json")
	resp, err := o.client.Do(req)
	if err != nil {
		return errors.New(plainly(err))
	}
	defer resp.Body.Close()
	_, _ = io.Copy(io.Discard, io.LimitReader(resp.Body, 64<<10)) // so that the connection is used again
	if resp.StatusCode/100 != 2 {
		return fmt.Errorf("the collector answers %d", resp.StatusCode)
	}
	return nil
}

// Shutdown implements sdktrace.SpanExporter.
func (o *otlp) Shutdown(context.Context) error {
	o.client.CloseIdleConnections()
	return nil
}
