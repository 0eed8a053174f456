package policy

// somePeople is the start of a file with five people: Riley and Avery may ask, all but
// Riley hold the role approver.
const somePeople = `
people:
  - { person: ` + riley + `, name: Riley, slack: [T0SOC/U0RILEY], roles: [responder] }
  - { person: ` + avery + `, name: Avery, roles: [responder, approver] }
  - { person: ` + sam + `, name: Sam, roles: [approver] }
  - { person: ` + jordan + `, name: Jordan, roles: [approver] }
  - { person: ` + kim + `, name: Kim, roles: [approver] }
`
