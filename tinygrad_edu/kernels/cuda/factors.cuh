// What is written for products: numbers as they are, or rounded to 16 bits.

#ifndef FACTOR
#define FACTOR REAL
#define TO_FACTOR
#endif
