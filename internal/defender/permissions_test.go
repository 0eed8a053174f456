package defender

import (
	"errors"
	"slices"
	"testing"
)

func TestPermissions_actionsAreAskedOfWhoeverActs(t *testing.T) {
	t.Parallel()
	reader := PermissionsOf([]string{PermissionMachineRead}, nil)
	both := PermissionsOf([]string{PermissionMachineRead, PermissionIsolate}, nil)
	actor := PermissionsOf([]string{PermissionIsolate}, nil)
	for name, tc := range map[string]struct {
		p       Permissions
		isolate bool
		excess  []string
	}{
		"one application for both":        {p: both, isolate: true},
		"one application that only reads": {p: reader},
		"roles that nothing here asks for": {
			p:       PermissionsOf([]string{PermissionMachineRead, PermissionIsolate, "Machine.Offboard"}, []string{PermissionHuntGraph, "Mail.Read"}),
			isolate: true, excess: []string{"Machine.Offboard on the application that reads", "Mail.Read of Graph on the application that reads"},
		},
		"every role that something here asks for": {
			p: PermissionsOf(slices.Concat(used, actions), usedOnGraph), isolate: true,
		},
		"another one that changes tags too":  {p: reader.ActedBy(PermissionsOf([]string{PermissionIsolate, PermissionMachineWrite}, nil), nil), isolate: true},
		"another one acts":                   {p: reader.ActedBy(actor, nil), isolate: true},
		"another one that may not":           {p: both.ActedBy(reader, nil), excess: []string{"Machine.Isolate on the application that reads", "Machine.Read.All on the application that acts"}},
		"another one that Entra refuses":     {p: both.ActedBy(Permissions{}, errors.New("refused")), excess: []string{"Machine.Isolate on the application that reads"}},
		"both may, though only one needs to": {p: both.ActedBy(actor, nil), isolate: true, excess: []string{"Machine.Isolate on the application that reads"}},
	} {
		if got := tc.p.Has(PermissionIsolate); got != tc.isolate {
			t.Errorf("%s: Has(%s) = %v, want %v", name, PermissionIsolate, got, tc.isolate)
		}
		if !tc.p.Has(PermissionMachineRead) {
			t.Errorf("%s: Has(%s) = false", name, PermissionMachineRead)
		}
		if got := tc.p.Excess(); !slices.Equal(got, tc.excess) {
			t.Errorf("%s: Excess() = %q, want %q", name, got, tc.excess)
		}
	}
}
