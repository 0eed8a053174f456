package defender

import (
	"strconv"
	"strings"
	"time"
)

// property is a name that $filter and $orderby may use. Filters are built from
// properties and encoded literals only; text from people is never an operator.
type property string

const (
	alertCreated   property = "alertCreationTime"
	alertUpdated   property = "lastUpdateTime"
	alertIncident  property = "incidentId"
	alertSeverity  property = "severity"
	alertStatus    property = "status"
	entityID       property = "id"
	machineName    property = "computerDnsName"
	machineIP      property = "lastIpAddress"
	machineRisk    property = "riskScore"
	machineHealth  property = "healthStatus"
	machineOS      property = "osPlatform"
	machineExposed property = "exposureLevel"
	machineSeen    property = "lastSeen"
	machineTags    property = "machineTags"
	actionMachine  property = "machineId"
	indicatorValue property = "indicatorValue"
	actionType     property = "type"
	actionStatus   property = "status"
	actionCreated  property = "creationDateTimeUtc"

	incidentUpdated property = "lastUpdateTime"
)

// literal is an encoded OData value.
type literal string

// expr is a finished $filter expression; "" filters nothing.
type expr string

func textLiteral(s string) literal {
	return literal("'" + strings.ReplaceAll(s, "'", "''") + "'")
}

// timeLiteral keeps the seven digits Defender writes, so that a boundary taken
// from one answer means the same instant in the next question.
func timeLiteral(t time.Time) literal {
	return literal(t.UTC().Format("2006-01-02T15:04:05.0000000Z"))
}

func intLiteral(n int64) literal { return literal(strconv.FormatInt(n, 10)) }

func eq(p property, v literal) expr { return expr(string(p) + " eq " + string(v)) }

func atOrAfter(p property, t time.Time) expr {
	return expr(string(p) + " ge " + string(timeLiteral(t)))
}

func before(p property, t time.Time) expr {
	return expr(string(p) + " lt " + string(timeLiteral(t)))
}

func nameStartsWith(prefix string) expr {
	return expr("startswith(" + string(machineName) + "," + string(textLiteral(prefix)) + ")")
}

// contains asks a collection property for one value.
func contains(p property, value string) expr {
	return expr(string(p) + "/any(v: v eq " + string(textLiteral(value)) + ")")
}

func allOf(es ...expr) expr { return join(" and ", es) }

func anyOf(es ...expr) expr {
	e := join(" or ", es)
	if len(es) > 1 {
		return "(" + e + ")"
	}
	return e
}

// oneOf is anyOf over equal texts; no values filter nothing.
func oneOf[S ~string](p property, values []S) expr {
	es := make([]expr, len(values))
	for i, v := range values {
		es[i] = eq(p, textLiteral(string(v)))
	}
	return anyOf(es...)
}

func join(op string, es []expr) expr {
	parts := make([]string, 0, len(es))
	for _, e := range es {
		if e != "" {
			parts = append(parts, string(e))
		}
	}
	return expr(strings.Join(parts, op))
}
