package defendersim

import (
	"encoding/json"
	"fmt"
	"net/http"
	"strings"
	"time"

	"github.com/google/uuid"
)

// apiError is an error answer.
type apiError struct {
	status     int
	code       string
	message    string
	retryAfter time.Duration
}

func (e *apiError) Error() string { return fmt.Sprintf("%d %s: %s", e.status, e.code, e.message) }

func badRequest(code, format string, args ...any) *apiError {
	return &apiError{status: http.StatusBadRequest, code: code, message: fmt.Sprintf(format, args...)}
}

func notFound(kind, id string) *apiError {
	return &apiError{status: http.StatusNotFound, code: "ResourceNotFound", message: fmt.Sprintf("%s %s was not found", kind, id)}
}

func forbidden(message string) *apiError {
	return &apiError{status: http.StatusForbidden, code: "Forbidden", message: message}
}

func unauthorized(message string) *apiError {
	return &apiError{status: http.StatusUnauthorized, code: "Unauthorized", message: message}
}

// body is the error in Defender's envelope.
func (e *apiError) body() string {
	return encode(map[string]any{"error": map[string]any{"code": e.code, "message": e.message, "target": uuid.NewString()}})
}

// graphBody is the error in Graph's envelope.
func (e *apiError) graphBody(now time.Time) string {
	id := uuid.NewString()
	return encode(map[string]any{"error": map[string]any{"code": e.code, "message": e.message, "innerError": map[string]any{
		"date": now.UTC().Format("2006-01-02T15:04:05"), "request-id": id, "client-request-id": id,
	}}})
}

func encode(v any) string {
	b, err := json.Marshal(v)
	if err != nil {
		panic(err)
	}
	return string(b)
}

// outage is the body of a scripted answer that brings none.
func outage(r *http.Request, status int) string {
	e := &apiError{status: status, code: strings.ReplaceAll(http.StatusText(status), " ", "")}
	switch {
	case isGraph(r) && status >= http.StatusInternalServerError:
		e.code = "UnknownError" // with no message: seen in real life
	case status == http.StatusTooManyRequests:
		e.code, e.message = "429", "API calls quota exceeded! maximum allowed 100 per 00:01:00"
	case status == http.StatusForbidden:
		e.message = "The application does not have any of the required application permissions to access the resource."
	}
	if isGraph(r) {
		return e.graphBody(time.Now())
	}
	return e.body()
}
