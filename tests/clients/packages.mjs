// npm packages out of the folder where tests/install-clients has put them.

import { createRequire } from "node:module";

export const load = createRequire(`${process.env.PACKAGES}/`);
