package defendersim

import (
	"cmp"
	"fmt"
	"time"
)

func comparableTo(columnType string, v any) bool {
	switch v.(type) {
	case string:
		return columnType == "String"
	case int64:
		return columnType == "Int64" || columnType == "Int32" || columnType == "Double" || columnType == "SByte"
	case bool:
		return columnType == "SByte"
	case time.Time:
		return columnType == "DateTime"
	}
	return false
}

func scalarName(v any) string {
	switch v.(type) {
	case int64:
		return "long"
	case bool:
		return "bool"
	case time.Time:
		return "datetime"
	default:
		return "string"
	}
}

func compareCells(a, b any) int {
	switch x := a.(type) {
	case nil:
		if b == nil {
			return 0
		}
		return -1
	case string:
		if y, ok := b.(string); ok {
			return cmp.Compare(x, y)
		}
	case time.Time:
		if y, ok := b.(time.Time); ok {
			return x.Compare(y)
		}
	case int64:
		if y, ok := b.(int64); ok {
			return cmp.Compare(x, y)
		}
		return cmp.Compare(asNumber(x), asNumber(b))
	case float64, bool:
		if b != nil {
			return cmp.Compare(asNumber(x), asNumber(b))
		}
	}
	return 1
}

func asNumber(v any) float64 {
	switch v := v.(type) {
	case int64:
		return float64(v)
	case float64:
		return v
	case bool:
		if v {
			return 1
		}
	}
	return 0
}

func asText(v any) string {
	switch v := v.(type) {
	case nil:
		return ""
	case string:
		return v
	}
	return fmt.Sprint(v)
}
