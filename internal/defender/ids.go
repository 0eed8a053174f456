package defender

import (
	"fmt"
	"regexp"
)

// IDs become path segments, so each kind has a grammar that admits no separator,
// dot or escape. Defender also accepts a computer name where a machine ID is
// meant; insisting on the ID keeps names out of paths that act.
var (
	machineIDPattern = regexp.MustCompile(`^[0-9a-fA-F]{40}$`)
	alertIDPattern   = regexp.MustCompile(`^[0-9A-Za-z][0-9A-Za-z_-]*$`)
	hostNamePattern  = regexp.MustCompile(`^[0-9A-Za-z_][0-9A-Za-z_.-]*$`)
	guidPattern      = regexp.MustCompile(`^[0-9a-fA-F]{8}(-[0-9a-fA-F]{4}){3}-[0-9a-fA-F]{12}$`)
)

// Lengths that are checked beside the grammar: a regular expression that counts up
// to them takes a hundred times the memory.
const (
	maxAlertID  = 128
	maxHostName = 255
	maxAccount  = 104 // characters
	maxSoftware = 200 // characters
)

func isMachineID(s string) bool { return machineIDPattern.MatchString(s) }

func isGUID(s string) bool { return guidPattern.MatchString(s) }

func checkMachineID(op, id string) error {
	if !isMachineID(id) {
		return fmt.Errorf("%s: %w: a machine ID has 40 hexadecimal digits", op, ErrInvalid)
	}
	return nil
}

func checkAlertID(op, id string) error {
	if len(id) > maxAlertID || !alertIDPattern.MatchString(id) {
		return fmt.Errorf("%s: %w: an alert ID has only letters, digits, _ and -", op, ErrInvalid)
	}
	return nil
}

func checkActionID(op, id string) error {
	if !isGUID(id) {
		return fmt.Errorf("%s: %w: a machine action ID is a GUID", op, ErrInvalid)
	}
	return nil
}
