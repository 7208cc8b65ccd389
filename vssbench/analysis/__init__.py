"""From stored records to numbers: tables, differences, families, seeds, the regression gate."""
