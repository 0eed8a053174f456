package policy

import "testing"

const testTenant = "72f988bf-86f1-41af-91ab-2d7cd011db47"

func TestExample_loadsWithoutWarnings(t *testing.T) {
	t.Parallel()
	p, err := Parse("example.yaml", []byte(Example()), Options{HomeTenant: testTenant})
	if err != nil {
		t.Fatalf("Parse(Example()) = %v", err)
	}
	if w := p.Warnings(); len(w) > 0 {
		t.Errorf("Warnings() = %q, want none", w)
	}
	if len(p.Book().People()) != 5 || len(p.Rules()) != 3 || len(p.AllRoutes()) != 2 || len(p.Groups()) != 3 {
		t.Errorf("Parse(Example()): %d people, %d rules, %d routes, %d groups, want 5, 3, 2, 3",
			len(p.Book().People()), len(p.Rules()), len(p.AllRoutes()), len(p.Groups()))
	}
}
